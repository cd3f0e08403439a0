"""The built-in towers of pictures as models of timm: importing this file tells timm of them.

Their names are ``counterpoint_cnn``, ``counterpoint_vit``, ``counterpoint_mlp`` and ``counterpoint_patches``, each with
the size of its pictures after a dot, as in ``counterpoint_vit.48``: open_clip gives timm a name and no size. They have
no classifier, and take pictures that are normalised already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Float
from timm.models import build_model_with_cfg, register_model
from torch import Tensor, nn

from .built_in import IMAGE_TOWERS
from .told import settings_of_timm


class Trunk(nn.Module):
    """A built-in tower with the attributes of a model of timm.

    Args:
        name: of the tower, as ``vit``.
        img_size: height and width of the pictures.
        options: timm's, none of which a built-in tower has.
    """

    num_classes = 0
    global_pool = "avg"

    def __init__(self, name: str, img_size: Any, **options: Any) -> None:
        super().__init__()
        self.tower = IMAGE_TOWERS[name](img_size if isinstance(img_size, int) else img_size[0])
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


def _register(name: str) -> Callable[..., nn.Module]:
    def entrance(pretrained: bool = False, pretrained_cfg: Any = None, **options: Any) -> nn.Module:
        if pretrained_cfg is None or isinstance(
            pretrained_cfg, str
        ):  # the part after the dot, if there is one
            pretrained_cfg = settings_of_timm(int(options.get("img_size") or pretrained_cfg or 48))
        made = partial(Trunk, name)
        return build_model_with_cfg(
            made, entrance.__name__, pretrained, pretrained_cfg=pretrained_cfg, **options
        )

    entrance.__name__ = f"counterpoint_{name}"
    return register_model(entrance)


for _name in IMAGE_TOWERS:
    _register(_name)
