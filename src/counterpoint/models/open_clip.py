"""Models of open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..networks.weights import TowerSource
from ..registry import unknown
from ._kind import ModelLoader
from ._pretrained import Pretrained, pretrained


class OpenClipLoader(ModelLoader):
    """A pair of open_clip: published weights by their tag, a file of weights, or a folder."""

    form: ClassVar[str] = "open_clip:NAME@TAG or open_clip:NAME@PATH"

    def holds(self, folder: Path) -> bool:
        return (folder / "open_clip_config.json").is_file()

    def towers(self, name: str) -> str:
        return str(self._source(name)) if self.holds(Path(name)) else f"open_clip:{name}"

    def load(self, name: str) -> Pretrained:
        source = self._source(name)
        if source.weights is None and not source.name.startswith("hf-hub:"):
            import open_clip

            if source.name not in open_clip.list_models():
                raise unknown("open_clip model", source.name, open_clip.list_models())
            tags = open_clip.list_pretrained_tags_by_model(source.name)
            raise ValueError(
                f"{source} names no weights; write @PATH, or @TAG, one of {', '.join(tags) or 'none'}"
            )
        return pretrained(source, _command(source))

    def _source(self, name: str) -> TowerSource:
        folder = self.holds(Path(name))
        return TowerSource("open_clip", "folder", name) if folder else TowerSource.parse(f"open_clip:{name}")


def _command(source: TowerSource) -> str:
    """Return the command that fetches published weights."""
    import open_clip

    if source.name.startswith("hf-hub:"):
        return f"hf download {source.name.removeprefix('hf-hub:')}"
    published = open_clip.get_pretrained_cfg(source.name, source.weights or "")
    repository, address = published.get("hf_hub", "").rstrip("/"), published.get("url", "")
    if repository:
        return f"hf download {repository}"
    return f"curl -LO {address} and write @ the file"
