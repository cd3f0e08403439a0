"""Models of timm."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from safetensors.torch import load_file
from torch import nn

from ..networks.towers.libraries.timm_tower import EMBEDDING_HEAD, config_of
from ..networks.weights import TowerSource
from ._kind import ModelLoader
from ._pretrained import Pretrained, pretrained


class TimmLoader(ModelLoader):
    """An encoder of pictures of timm, without its classifier; with the head of an export, which stands in its place."""

    form: ClassVar[str] = "timm:NAME@hub, timm:NAME@package or timm:NAME@PATH"

    def holds(self, folder: Path) -> bool:
        return bool(config_of(folder))

    def towers(self, name: str) -> str:
        return str(self._source(name)) if self.holds(Path(name)) else f"timm:{name}"

    def load(self, name: str) -> Pretrained:
        source = self._source(name)
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        model = pretrained(source, _command(source))
        folder = source.path
        if folder is None or (head := config_of(folder).get(EMBEDDING_HEAD)) is None:
            return model
        weights = load_file(folder / "model.safetensors")
        layer = nn.Linear(*reversed(weights[f"{head}.weight"].shape))
        layer.load_state_dict({part: weights[f"{head}.{part}"] for part in ("weight", "bias")})
        return Pretrained({"image": model.image_tower}, {"global": {"image": layer}}).eval()

    def _source(self, name: str) -> TowerSource:
        stated = config_of(Path(name))
        return (
            TowerSource("timm", stated["architecture"], name) if stated else TowerSource.parse(f"timm:{name}")
        )


def _command(source: TowerSource) -> str:
    """Return the command that fetches published weights."""
    import timm

    published = timm.get_pretrained_cfg(source.name) if timm.is_model(source.name) else None
    if published is None or published.hf_hub_id is None:
        return f'python -c "import timm; timm.create_model({source.name!r}, pretrained=True)"'
    return f"hf download {published.hf_hub_id}"
