"""Reading the index of a checkpoint in parts."""

from __future__ import annotations

import io
import pickle
from pathlib import PosixPath

import pytest

from counterpoint.training.saving.parts import _Index


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_are_read_whatever_version_of_python_wrote_them(module: str) -> None:
    written = f"c{module}\nPosixPath\n(S'a'\nS'b'\ntR.".encode()
    assert _Index(io.BytesIO(written)).load() == PosixPath("a/b")


def test_other_classes_of_the_module_are_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="no index of a checkpoint holds"):
        _Index(io.BytesIO(b"cpathlib._local\nos\n.")).load()
