"""A masked autoencoder of pictures."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..pairwise.inputs import upcast
from .decoder import MaskedDecoder
from .heads import Linear
from .masking import gather_patches, hidden_patches
from .towers.transformer import VisionTransformer

PAPERS = {"x-former": ("MaskedAutoencoder",)}
_DEPTH, _DECODER = 2, 64


class MaskedAutoencoder(nn.Module):
    """A vision transformer that sees some patches, and a decoder that predicts the pixels of the others.

        e = mean over hidden patches and their pixels of (decoder(states of visible patches) − standardised pixels)²

    Pixels are standardised over each patch. A state has the position of its patch's index in the grid.

    >>> autoencoder = MaskedAutoencoder(8, (2, 2), 8)
    >>> pictures, index = torch.zeros(3, 3, 8, 8), torch.tensor([[1], [0], [3]])
    >>> states = autoencoder.states(pictures, index)
    >>> states.shape, autoencoder.errors(pictures, states, index).shape
    (torch.Size([3, 1, 8]), torch.Size([3]))

    Args:
        side: of pictures, in pixels.
        grid: rows and columns of patches.
        width: of the transformer.

    Raises:
        ValueError: for a grid that is not square, or does not divide the side.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners" (2021), arXiv 2111.06377.
    """

    def __init__(self, side: int, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        rows, columns = grid
        if rows != columns or side % rows:
            raise ValueError(
                f"a masked autoencoder has square patches, and a grid of {grid} does not cut a square of {side} pixels "
                "into such: take image=vit, or another --towers.image_size"
            )
        patch = side // rows
        self.encoder = VisionTransformer(side, patch, width, _DEPTH, math.gcd(width, 4))
        self.decoder = MaskedDecoder(width, grid, _DECODER)
        self.predict = Linear(_DECODER, 3 * patch**2, bias=True)

    def states(self, pictures: Float[Tensor, "B 3 H W"], index: Int[Tensor, "B k"]) -> Float[Tensor, "B k w"]:
        """Return the states of visible patches, in the order of the index."""
        return self.encoder.encode_visible(pictures, index).patches

    def errors(
        self,
        pictures: Float[Tensor, "B 3 H W"],
        states: Float[Tensor, "B k w"],
        index: Int[Tensor, "B k"],
    ) -> Float[Tensor, " B"]:
        """Return the error of each picture.

        Args:
            pictures: whole.
            states: of the visible patches, as the encoder or another module left them.
            index: of the visible patches.
        """
        _, decoded = self.decoder(states.mean(1), states, index)
        pixels, _ = self.encoder.pixels_and_positions(pictures)
        hidden = hidden_patches(index, pixels.shape[1])
        variance, mean = torch.var_mean(pixels, -1, keepdim=True)
        target = (pixels - mean) / (variance + 1e-6).sqrt()
        wrong = self.predict(gather_patches(decoded, hidden)) - gather_patches(target, hidden)
        return upcast(wrong).square().mean((1, 2))
