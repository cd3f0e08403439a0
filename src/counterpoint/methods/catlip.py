"""CatLIP: a picture is classified by the nouns of its caption, all at once, and no text is encoded."""

from __future__ import annotations

from typing import ClassVar

import torch

from ..losses import BCELoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import StepInfo, Target, TrainingExamples
from ._tags import TagScores
from .base import ONCE


class CatLIP(TagScores):
    """``L = 1/B Σ_i Σ_c [ softplus(s_ic) − y_ic s_ic ]``, s_ic = <f(picture i), w_c> + b_c; y_ic: its caption says c.

    The label is ``nouns``, unless one is named: nouns of the texts by WordNet's first senses, which the data makes
    where a method learns them (`counterpoint.data.nouns`). A noun that a caption says twice is said; one of a
    caption without any is none, and the picture counts. The bias starts at the prior, b_c = log(n_c / (n − n_c)) of n_c
    of n training rows that have c, as the sum over many rare classes would else be large for many steps. Where a
    comparison names another label, ``catlip,labels=nouns`` says which one is meant.

    Classes are told by their nouns afterwards, too: ``cross-entropy,image=TOWER@RUN,start=RUN``, with the folder of a
    run, takes over the vectors of classes that are called so. Without a text tower there is no zero-shot, and pairs are
    compared by a probe alone.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.

    Raises:
        ValueError: without a label, and for one that is not of tags.

    Source: Mehta et al., "CatLIP: CLIP-level Visual Recognition Accuracy with 2.7x Faster Pre-training on Web-scale
    Image-Text Data" (2024), arXiv 2404.15653. Its averaged weights, batches of varying size and learned ranges of
    augmentation belong to the recipe and are left out; its bias starts at 0 and relies on the warm-up.
    """

    family = "tags"
    papers = ("catlip",)
    name = "catlip"
    default_label: ClassVar[str] = "nouns"
    epoch_start_every = ONCE

    def __init__(self, towers: Towers, recipe: Recipe, *, target: Target | None = None) -> None:
        super().__init__(towers, recipe, target=target)
        self.objective = BCELoss()

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Start the bias at the prior."""
        if clock.step or self.head.bias is None:
            return
        tags = self.classes(examples)
        # Half a row more for either answer, as a prior of 0 or 1 would never be left.
        has, lacks = ((tags == answer).sum(0) + 0.5 for answer in (1, 0))
        self.head.bias.copy_(torch.log(has / lacks))
