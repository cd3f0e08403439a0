"""Parts of methods that train on the patches of pictures."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ..networks.base import ImageTower


def per_patch(head: nn.Module, maps: Float[Tensor, "B h w C"]) -> Float[Tensor, "B h w d"]:
    """Return what a head of vectors makes of each patch; its batch norms take all patches as one batch."""
    return head(maps.flatten(0, 2)).view(*maps.shape[:3], -1)


def patches_of(tower: ImageTower, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w C"]:
    """Return a tower's features of patches, the channels last."""
    return tower.patches(images).permute(0, 2, 3, 1)


class ProjectedPatches(nn.Module):
    """A tower's patches through a head, as one module, of which there can be a slow copy."""

    def __init__(self, tower: ImageTower, head: nn.Module) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w d"]:
        return per_patch(self.head, patches_of(self.tower, images))
