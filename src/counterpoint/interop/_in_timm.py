"""The built-in towers of pictures as models of timm, which `_when_timm` has registered there once timm is imported.

Their names are ``counterpoint_cnn``, ``counterpoint_vit``, ``counterpoint_vit_map``, ``counterpoint_mlp`` and
``counterpoint_patches``, each with the size of its pictures after a dot, as in ``counterpoint_vit.48``, and with sizes
that are not the tower's defaults, as in ``counterpoint_vit.48.width64.layers3``: open_clip gives timm a name and no
size. For the same reason ``counterpoint_cut.224.resnet18`` is timm's ``resnet18`` on the middle 224
pixels of larger pictures. They have no classifier, and take pictures that are normalised already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from string import ascii_lowercase
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from ..networks.exported import settings_of_timm
from ..networks.towers.built_in import IMAGE_TOWERS


class Trunk(nn.Module):
    """A built-in tower with the attributes of a model of timm.

    Args:
        name: of the tower, as ``vit``.
        img_size: height and width of the pictures.
        sizes: further arguments of `ImageTower.of_sizes`.
        options: timm's, none of which a built-in tower has.
    """

    num_classes = 0
    global_pool = "avg"

    def __init__(self, name: str, sizes: Mapping[str, int], img_size: Any, **options: Any) -> None:
        super().__init__()
        side = img_size if isinstance(img_size, int) else img_size[0]
        self.tower = IMAGE_TOWERS[name].of_sizes(side, **sizes)
        self.tower.normalise = nn.Identity()
        self.num_features = self.head_hidden_size = self.tower.width

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Take off the classifier, of which there is none.

        Raises:
            ValueError: for classes.
        """
        if num_classes:
            raise ValueError("a tower of counterpoint has no classifier: give num_classes=0")

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.tower(pictures)


class Cut(nn.Module):
    """A tower of timm that takes the middle of larger pictures, of a size that its name says.

    Args:
        architecture: timm's.
        size: height and width of the middle.
    """

    num_classes = 0
    global_pool = ""

    def __init__(self, architecture: str, size: int) -> None:
        super().__init__()
        usual = timm.get_pretrained_cfg(architecture)
        sized = {"img_size": size} if usual is not None and usual.fixed_input_size else {}
        self.size, self.model = size, timm.create_model(architecture, num_classes=0, **sized)
        self.pretrained_cfg = self.default_cfg = settings_of_timm(size)
        with torch.no_grad():
            features = self.model.eval()(torch.zeros(1, 3, size, size))
        self.num_features = self.head_hidden_size = features.shape[1]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Take off the classifier, of which there is none.

        Raises:
            ValueError: for classes.
        """
        if num_classes:
            raise ValueError("a tower of counterpoint has no classifier: give num_classes=0")

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        top, left = ((length - self.size) // 2 for length in pictures.shape[2:])
        return self.model(pictures[:, :, top : top + self.size, left : left + self.size])


@register_model  # type: ignore[untyped-decorator]
def counterpoint_cut(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> nn.Module:
    """Build ``counterpoint_cut.SIZE.NAME``: timm's NAME on the middle SIZE pixels."""
    size, _, architecture = str(pretrained_cfg).partition(".")
    return Cut(architecture, int(size))


def _register(name: str) -> Callable[..., nn.Module]:
    def entrance(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> nn.Module:
        # A text is the part of the name after the dot.
        sizes: dict[str, int] = {
            name: options.pop(name) for name in ("width", "layers", "patch") if name in options
        }
        if pretrained_cfg is None or isinstance(pretrained_cfg, str):
            side, *further = (pretrained_cfg or "48").split(".")
            sizes |= {part.rstrip("0123456789"): int(part.lstrip(ascii_lowercase)) for part in further}
            pretrained_cfg = settings_of_timm(int(options.get("img_size") or side))
        made = partial(Trunk, name, sizes)
        return build_model_with_cfg(
            made, entrance.__name__, pretrained, pretrained_cfg=pretrained_cfg, **options
        )

    entrance.__name__ = f"counterpoint_{name.replace('-', '_')}"
    return register_model(entrance)


for _name in IMAGE_TOWERS:
    _register(_name)
