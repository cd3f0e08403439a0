"""The function of the cards that opens a picture file: the pixels that this package sees."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.pictures.decode import whole
from counterpoint.exporting._opening import lines, open_rgb
from fixtures.pictures import FORMS, INTO_FILE, colours, turned

FILES = {form: make for form, (make, *_) in FORMS.items() if not form.startswith(("32-bit", "float"))}
FILES |= {f"turned {number}": lambda n=number: turned(colours(40, 30), "JPEG", n) for number in INTO_FILE}


@pytest.mark.parametrize("form", FILES)
def test_every_kind_of_file(form: str) -> None:
    data = FILES[form]()
    expected = np.asarray(whole(Image.open(io.BytesIO(data))))
    assert np.array_equal(np.asarray(open_rgb(io.BytesIO(data))), expected)


def test_its_lines_run_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(turned(colours(40, 30), "JPEG", 6))
    script = "\n".join([*lines(), "print(open_rgb('picture.jpg').size)"])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "(40, 30)", done.stderr
