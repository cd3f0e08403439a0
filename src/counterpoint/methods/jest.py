"""JEST: SigLIP on the part of each batch that is worth most, chosen as a whole with a reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor

from ..forms import BelowOne, Count, Finite, Positive
from ..losses import SigLIPLoss
from ..networks.base import Input, Towers
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..pairwise.joint_selection import FirstChunk, Judge, select
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .dual_encoder import DualEncoder, linear_heads
from .frozen import embed_in_parts, frozen
from .needs import Needs
from .tower_method import TowerMethod

Score = Literal["learnability", "easy-reference", "hard-learner"]
"""Scores of a pair: the learner's loss less the reference's, the reference's negated, the learner's."""
_WEIGHTS: Mapping[Score, tuple[float, float]] = {
    "learnability": (1, -1),
    "easy-reference": (0, -1),
    "hard-learner": (1, 0),
}
REFERENCE_TEXT = "reference.text"
"""The view of the caption that the learner reads, in the reference's tokens."""


class JEST(DualEncoder):
    """SigLIP trained on (1 − f) B of every B pairs, chosen jointly by what they can still teach.

        S_ij = ell_ij(learner) − ell_ij(reference),   ell of `SigLIPLoss`, each with its own τ and b
        chunk after chunk: p(k) ∝ exp(S_kk + Σ_{i chosen} (S_ik + S_ki)),   see `select`

    A step takes ``batch_size`` pairs, B, scores them with both models in evaluation mode and without gradient, and
    trains on the chosen ones. On several ranks the choice is of the whole batch, and each rank trains on those of its
    pairs that were chosen. With f = 0 nothing is scored, and the method is SigLIP.

    The reference is frozen and no part of the trained model: a checkpoint does not hold it, a run that goes on needs it
    still, and the model is used without it. It helps as far as it is better than the learner: a run logs the mean loss
    of either on all pairs that were scored, each beside its own partner. An independent choice, pair by pair, is
    ``chunks=1``; a uniform one is that with ``first_chunk=uniform``.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding and B.
        reference: a trained run of ``siglip`` or ``jest``, or another model with its loss; as `counterpoint.load` reads
            it. Its pictures must be of the learner's size; it reads captions in its own tokens.
        filter: f, the share that is left out.
        score: what is high for a pair worth training on.
        chunks: in how many parts the sub-batch is drawn; 16 in the paper.
        first_chunk: how the first is drawn.
        averaged: logits of later chunks are divided by their number of terms.
        temperature: where τ starts.
        bias: where b starts; None is the balance for the pairs that are chosen.

    Raises:
        ValueError: for a reference that is not there, has no such loss, or takes other pictures, and options out of
            range.

    Source: Evans et al., "Data curation via joint example selection further accelerates multimodal learning" (2024),
    arXiv 2406.17711. The sampler was read in a re-implementation; the paper's text was not checked.
    """

    family = "two towers"
    papers = ("jest",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3), "bias": (-12.0, 0.0)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        reference: str,
        filter: BelowOne = 0.8,
        score: Score = "learnability",
        chunks: Count = 16,
        first_chunk: FirstChunk = "own",
        averaged: bool = False,
        temperature: Positive = 0.1,
        bias: Finite | None = None,
    ) -> None:
        start = SigLIPLoss.balanced_bias(_num_selected(recipe.batch_size, filter)) if bias is None else bias
        super().__init__(
            towers,
            linear_heads(towers, recipe.widths.embedding),
            SigLIPLoss(Temperature(temperature), bias=start),
            "siglip",
        )
        self.filter, self.weights = filter, _WEIGHTS[score]
        self.chunks, self.first_chunk, self.averaged = chunks, first_chunk, averaged
        self.part = recipe.microbatch
        self._seen: dict[str, float] = {}
        self._reference = frozen("reference", reference, self.picture_size)
        if not all(
            isinstance(model, DualEncoder) and isinstance(model.objective, SigLIPLoss)
            for model in self._reference
        ):
            raise ValueError(
                f"reference={reference!r} was not trained by the sigmoid loss, and has no bias to score pairs with; "
                "name a run of siglip or jest"
            )
        for model in self._reference:
            if not {"image", "text"} <= _by_modality(model).keys():
                raise ValueError(
                    f"reference={reference!r} does not compare pictures with texts; name another run"
                )
        self.picture, self.text = towers
        if filter:
            self.views = {**self.views, REFERENCE_TEXT: View("text", "plain", self.text, like=self.text)}

    @property
    def view_inputs(self) -> Mapping[str, Input]:
        if not self._reference:
            return {}
        (reference,) = self._reference
        return {REFERENCE_TEXT: reference.inputs[_by_modality(reference)["text"]]}

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        # A trained method that is read again has no reference: its loss is that of all pairs.
        if not self.filter or not self._reference:
            return batch
        (reference,) = self._reference
        assert isinstance(reference, DualEncoder)
        views, columns = {column: batch[column] for column in self.columns}, _by_modality(reference)
        theirs = {columns["image"]: batch[self.picture], columns["text"]: batch[REFERENCE_TEXT]}
        judged = [
            _judge(self, views, self.part),
            _judge(reference.to(next(self.parameters())), theirs, self.part),
        ]
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), batch.ids.device)
        chosen = select(
            [
                replace(judge, weight=weight)
                for judge, weight in zip(judged, self.weights, strict=True)
                if weight
            ],
            _num_selected(sum(counts), self.filter),
            chunks=self.chunks,
            first=self.first_chunk,
            averaged=self.averaged,
        )
        names = ("own loss/learner", "own loss/reference")
        means = [ranks.total(judge.own().sum()) / sum(counts) for judge in judged]
        self._seen = {name: float(mean) for name, mean in zip(names, means, strict=True)}
        here = ranks.rows(counts)
        mine = chosen[(chosen >= here.start) & (chosen < here.stop)] - here.start
        return replace(batch, views=views).map(lambda t: t[mine])

    def encode(self, batch: Batch) -> Embeddings:
        return {column: self.features(column, batch[column]) for column in self.columns}

    def numbers(self) -> dict[str, float]:
        return self._seen

    def passes(self) -> dict[str, float]:
        # Scoring takes one of the learner and one of the reference.
        return dict.fromkeys(("image", "text"), 3 - self.filter if self.filter else 1)


def _num_selected(size: int, filter: float) -> int:
    """Return how many of a batch's pairs are trained on, one at least."""
    return max(round((1 - filter) * size), 1)


def _by_modality(model: TowerMethod) -> dict[str, str]:
    """Return the first column of a model of each modality, as a reference may call its columns otherwise."""
    return {model.tower(column).modality: column for column in reversed(model.columns)}


def _judge(model: DualEncoder, inputs: Mapping[str, Tensor], part: int) -> Judge:
    """Return how a model scores pairs; embedded in parts of a size where gradients are cached so, too."""
    x, y = (upcast(embed_in_parts(model, column, values, part)) for column, values in inputs.items())
    objective = model.objective
    assert isinstance(objective, SigLIPLoss)
    return Judge(objective.temperature.scale(x), y, objective.bias.to(x.dtype))
