"""M-DYR: labels that are likely wrong give way to what the classifier itself says, on mixtures of examples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction, NonNegative, Positive
from ..networks.base import Towers
from ..networks.beta_mixture import BetaMixture
from ..networks.heads import Linear
from ..networks.mixup import PARTNER, SHARE, mixup
from ..networks.state.item_state import ItemState
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from .base import Ranges
from .classifying import Classifying
from .needs import Needs

WRONG, BELIEF = "label.wrong", "label.belief"
"""Names under which a batch holds w, the probability that a label is wrong, and what the classifier says instead."""
_UNKNOWN = -1.0


class MDYR(Classifying):
    """Mixup whose labels are corrected by how likely they are wrong: dynamic bootstrapping.

        x̃ = λ x_p + (1 − λ) x_q,   h = softmax(W f(x̃)),   λ ~ Beta(α, α)
        L = mean λ l_p + (1 − λ) l_q + ρ R,    l_i = −[(1 − w_i) y_i + w_i z_i]ᵀ log h
        R = Σ_c 1/C log((1/C) / h̄_c),    h̄ the mean of h over the batch

    w_i is the posterior of the larger of two components of the losses of all training examples (`BetaMixture`), fitted
    at the start of every epoch; z_i is what the classifier says of the example itself, unmixed and in evaluation mode:
    its likeliest class, or with ``belief="soft"`` all probabilities. Until ``warmup`` it is mixup: before the
    classifier has learned anything, its own predictions would stay as they are. R keeps it from saying one class of
    all. With w = 0 and ρ = 0 it is mixup.

    The posterior of every example's label is kept (`wrong`): ``counterpoint data audit`` reads it. Examples without a
    class (−1) count for nothing.

    Args:
        towers: of one column.
        recipe: unused: the classifier reads the tower's own features.
        target: the label that is learned.
        alpha: α.
        belief: the form of z.
        regulariser: ρ.
        warmup: the share of the steps before the first fit; the paper's 105 of 300 epochs.

    Raises:
        ValueError: without a label, and for columns that cannot be mixed, as texts.

    Source: Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction" (2019), arXiv 1904.11238.
    """

    family = "supervised"
    papers = ("bmm-bootstrapping",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    tunable: ClassVar[Ranges] = {"regulariser": (0.1, 3.0)}
    default_label: ClassVar[str] = "group"
    draws = True
    epoch_start_every = 1

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        alpha: Positive = 32.0,
        belief: Literal["hard", "soft"] = "hard",
        regulariser: NonNegative = 1.0,
        warmup: Fraction = 0.35,
    ) -> None:
        super().__init__(towers, target)
        self.required_target()
        ((self.column, tower),) = towers.items()
        self.classifier = Linear(tower.width, len(self.required_target().classes))
        self.alpha, self.belief, self.regulariser, self.warmup = alpha, belief, regulariser, warmup
        self.mixture, self.items = BetaMixture(), ItemState(wrong=_UNKNOWN)

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        return self.classifier(z[self.column])

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Fit the mixture to the losses of all examples, and keep what it says of each."""
        if clock.progress < self.warmup:
            return
        losses = examples.map(self._losses)
        known = examples.labels[self.required_target().label] >= 0
        self.mixture.fit(losses[known])
        device = self.items.ids.device
        self.items.store(
            examples.ids[known].to(device), wrong=self.mixture.posterior(losses[known].to(device))
        )

    def wrong(self, ids: Tensor) -> Float[Tensor, " n"]:
        """Return the probability that the label of each item is wrong, NaN for those that nothing is known of."""
        (posterior,) = self.items.recall(ids)
        return posterior.masked_fill(posterior == _UNKNOWN, math.nan)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        if not self.mixture.fitted:
            return mixup(batch, self.alpha)
        # As evaluation sees the examples: neither dropout nor other examples of the batch have a say in w.
        was_training = self.training
        self.eval()
        logits = upcast(self.logits(self.encode(batch), batch))
        self.train(was_training)
        wrong = self.mixture.posterior(self._cross_entropy(logits, batch))
        return self.mixed(
            replace(batch, labels={**batch.labels, WRONG: wrong, BELIEF: self.believed(logits, clock)})
        )

    def mixed(self, batch: Batch) -> Batch:
        """Return the mixtures of a batch whose labels were judged."""
        return mixup(batch, self.alpha)

    def believed(self, logits: Float[Tensor, "B classes"], clock: StepInfo) -> Float[Tensor, "B classes"]:
        """Return z."""
        if self.belief == "hard":
            return F.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
        return logits.softmax(1)

    def share(self, batch: Batch) -> Float[Tensor, " B"]:
        """Return the weight of the example itself in the loss of its mixture."""
        return batch.labels[SHARE]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        log_h, share = upcast(self.logits(z, batch)).log_softmax(1), self.share(batch)
        parts = [self._part(log_h, batch, prefix) for prefix in ("", PARTNER)]
        terms = torch.cat([term for term, _ in parts])
        weights = torch.cat([share * parts[0][1], (1 - share) * parts[1][1]])
        losses = {"bootstrapping": moments.mean(terms, weights, ranks=Ranks.present())}
        if self.mixture.fitted and self.regulariser:
            mean = moments.mean(log_h.exp(), ranks=Ranks.present()).clamp_min(1e-8)
            losses["prior"] = -self.regulariser * (mean.log() + math.log(len(mean))).mean()
        return losses

    def _part(self, log_h: Tensor, batch: Batch, prefix: str) -> tuple[Tensor, Tensor]:
        """Return l of one of the two examples of each mixture, and which of these have a class."""
        classes = batch.labels[prefix + self.required_target().label]
        loss = F.nll_loss(log_h, classes.clamp_min(0), reduction="none")
        if prefix + WRONG in batch.labels:
            wrong, belief = batch.labels[prefix + WRONG], batch.labels[prefix + BELIEF]
            loss = (1 - wrong) * loss - wrong * (belief * log_h).sum(1)
        return loss, (classes >= 0).to(loss)

    def _losses(self, batch: Batch) -> Float[Tensor, " B"]:
        return self._cross_entropy(upcast(self.logits(self.encode(batch), batch)), batch)

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Float[Tensor, " B"]:
        return F.cross_entropy(logits, self.classes(batch).clamp_min(0), reduction="none")

    def passes(self) -> dict[str, float]:
        # Once mixed, once unmixed for what it says itself, and once to look.
        looks = 1 / self.epoch_start_every
        return {modality: 2 * count + looks for modality, count in super().passes().items()}
