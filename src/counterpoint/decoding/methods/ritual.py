"""RITUAL: add what the model says of a randomly transformed picture."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import torch

from ...forms import Fraction, NonNegative
from ..branch import GivenBranch
from ..chooser import Logits
from ..combine import BranchWeights
from ..method import Contrastive

if TYPE_CHECKING:
    from PIL import Image


@final
@dataclass(frozen=True)
class Ritual(Contrastive):
    """``l + α·l⁺``, l⁺ with the picture after one random transform, kept for the whole answer.

    The picture is transformed before the processor sees it::

        other = processor(images=ritual.transform(image), text=prompt, return_tensors="pt")
        model.generate(**inputs, custom_generate=ritual.on(inputs, transformed=other))

    The weights sum to 1 + α, so even an unchanged picture sharpens sampling, to the temperature 1 / (1 + α).
    ``ritual.on(inputs, transformed=inputs)`` is the control for that; under greedy decoding it is plain decoding.
    Flips and rotations spoil questions of left and right.

    Attributes:
        alpha: weight of the transformed picture.
        beta: of the plausibility rule.
        seed: of the choice of transforms.

    Source: RITUAL (arXiv 2405.17821). With VCD, ``VisualContrastive() + Ritual()``, it is
    ``(1 + a)·l − a·l⁻ + α·l⁺``; the paper does not state its weights.
    """

    papers: ClassVar[tuple[str, ...]] = ("ritual",)

    alpha: NonNegative = 3.0
    beta: Fraction = 0.1
    seed: int = 0

    def branches(self) -> tuple[GivenBranch]:
        return (GivenBranch("transformed"),)

    def weights(self, logits: Logits, others: Sequence[Logits]) -> BranchWeights:
        return BranchWeights([self.alpha], total=1.0 + self.alpha)

    def transform(self, image: Image.Image) -> Image.Image:
        """Change a picture by one of six transforms, all equally likely.

        They are a horizontal flip, a vertical flip, a rotation by up to 180°, colour jitter, a Gaussian blur, and a
        random crop of 8 to 100 % resized to 336 × 336.

        The choice depends on the seed and the picture alone, and torch's random state stays as it is.
        """
        from torchvision.transforms import v2

        image = image.convert("RGB")
        with torch.random.fork_rng(devices=[]):
            # The transforms draw on the CPU; torch.manual_seed would seed every accelerator, for good.
            torch.default_generator.manual_seed(zlib.crc32(image.tobytes(), self.seed))
            transforms = (
                v2.RandomHorizontalFlip(1.0),
                v2.RandomVerticalFlip(1.0),
                v2.RandomRotation(180),
                v2.ColorJitter(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5),
                v2.GaussianBlur(13, (1.5, 2.0)),
                v2.RandomResizedCrop(336),
            )
            chosen = transforms[int(torch.randint(len(transforms), ()))]
            transformed: Image.Image = chosen(image)
        return transformed
