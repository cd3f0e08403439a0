"""Models that were exported to folders which stand by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ._kind import ModelLoader
from ._pretrained import Pretrained
from ._stated import FILE, read


class SafetensorsLoader(ModelLoader):
    """Towers and heads in safetensors, and a file that says what they are: what ``export --to safetensors`` writes."""

    form: ClassVar[str] = "a folder that was exported to safetensors"

    def holds(self, folder: Path) -> bool:
        return (folder / FILE).is_file()

    def towers(self, name: str) -> str:
        raise ValueError(
            f"{name} was exported to safetensors, to be used as it is: name the run that it was exported from, as "
            "clip,from=RUN, or export the run --to open_clip or transformers, whose folders are arms"
        )

    def load(self, name: str) -> Pretrained:
        return read(Path(name))
