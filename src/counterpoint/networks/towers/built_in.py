"""The built-in towers of pictures, by name."""

from __future__ import annotations

from collections.abc import Mapping

from ..base import ImageTower
from .convnet import ConvNet
from .cropped_positions import CroppedPositionsTransformer
from .naflex import NaFlexTransformer
from .perceptron import PatchPerceptron, PixelPerceptron
from .sparse import SparseTransformer
from .transformer import ProbedTransformer, VisionTransformer
from .windowed import WindowedTransformer

IMAGE_TOWERS: Mapping[str, type[ImageTower]] = {
    "cnn": ConvNet,
    "vit": VisionTransformer,
    "vit-crop": CroppedPositionsTransformer,
    "vit-map": ProbedTransformer,
    "naflex": NaFlexTransformer,
    "vit-windows": WindowedTransformer,
    "mlp": PixelPerceptron,
    "patches": PatchPerceptron,
    "sparse": SparseTransformer,
}
"""Each is built by `ImageTower.of_sizes`."""
