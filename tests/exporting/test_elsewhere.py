"""Exports of a model with towers that other libraries have, read by the lines of their cards without this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import counterpoint as cp
from counterpoint.interop._samples import picture_files
from counterpoint.methods.tower_method import TowerMethod
from fixtures.trained import made_run

FILES = {
    "turned by EXIF": "turned.jpg",
    "transparent": "transparent.png",
    "16 bits": "deep.png",
    "large": "large.jpg",
}
ELSEWHERE = """
import sys
sys.modules["counterpoint"] = None  # importing it raises an error
import numpy
card, out, *files = sys.argv[1:]
code = open(card, encoding="utf-8").read().split("```python\\n")[1].split("```")[0]
vectors = {}
for file in files:
    names = {}
    exec(code.replace("picture.jpg", file), names)
    for name in ("text_vectors", "image_vectors"):
        if name in names:
            found = names[name]
            vectors[f"{name} {file}"] = found.detach().numpy() if hasattr(found, "detach") else found
numpy.savez(out, **vectors)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("work"), "clip", "--towers.image", "timm:test_resnet")


@pytest.fixture(scope="module")
def model(run: Path) -> TowerMethod:
    return cp.load(run)


@pytest.mark.parametrize("layout", ["open_clip", "timm", "sentence_transformers", "onnx"])
def test_vectors_are_those_of_embed(layout: str, run: Path, model: TowerMethod, tmp_path: Path) -> None:
    done = cp.export(run, layout, tmp_path / "mine")
    assert not done.needs_counterpoint
    for kind, name in FILES.items():
        (tmp_path / name).write_bytes(picture_files()[kind])
    words = [sys.executable, "-c", ELSEWHERE, "mine/README.md", "found.npz", *FILES.values()]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    vectors = np.load(tmp_path / "found.npz")
    paths = [tmp_path / name for name in FILES.values()]
    expected = {f"image_vectors {path.name}": model.embed("image", path) for path in paths}
    if layout != "timm":
        expected |= {f"text_vectors {path.name}": model.embed("text", "a red car") for path in paths}
    assert set(vectors) == set(expected)
    for name, own in expected.items():
        theirs = F.normalize(torch.from_numpy(vectors[name]), dim=-1)
        torch.testing.assert_close(theirs, own, rtol=0, atol=1e-5)


def test_another_export_needs_this_package_and_says_so(tmp_path: Path) -> None:
    run = made_run(tmp_path, "clip")
    for layout in ("open_clip", "timm", "sentence_transformers"):
        with pytest.raises(
            ValueError, match=r"only where counterpoint is installed, because of .*--allow-custom-code"
        ):
            cp.export(run, layout, tmp_path / layout)
        assert not (tmp_path / layout).exists()
    done = cp.export(run, "timm", tmp_path / "timm", allow_custom_code=True)
    assert done.needs_counterpoint
    assert "This export needs the package counterpoint" in (done.folder / "README.md").read_text()
