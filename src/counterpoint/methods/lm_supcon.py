"""LM-SupCon: texts in templates, whose class is the word behind a mask token, and contrast between templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Fraction, NonNegative, Positive
from ..losses import SupConLoss
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.masking import drawn_for_batch
from ..networks.towers.parts.pooling import inside
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from ._templates import MaskedTemplate, own_tokens, starting
from .base import Ranges
from .classifying import Classifying
from .needs import Needs

TEMPLATES = ("{} it is {mask}", "{mask} : {}", "this is {mask} {}", "{} all in all {mask}")


class LMSupCon(Classifying):
    """A text stands in a template with a mask token, and the word that is expected there says its class.

        h = state of the mask token,   s_c = <g(h), mean of the vectors of the tokens of class c's word>
        L_words    = CE(s, y)
        L_contrast = SupCon(f(h_1), f(h_2); y),   f = tanh of a linear layer, then of unit norm

    h_1 is of the text in the first template, h_2 in one of the others, drawn anew for each text and step. In turn, one
    step is of the contrast and the next of words. A text that is too long is cut so that the template is whole. A user
    gets f(h) of the first template (`embed`) and the classes (`classify`).

    Args:
        towers: the tower, by its column.
        recipe: unused: the heads are as wide as the tower.
        target: the label that is learned.
        templates: with ``{}`` in the place of the text and ``{mask}`` in that of the word. Of one template the second
            view is the text in the same template under other dropout.
        words: a word for each class, in their order; the names of the classes unless given.
        contrast: weight of the contrast; with 0 all steps are of words.
        alternate: whether the two losses come in turn. Else every step has their sum.
        diverse: whether words are predicted in both views, so that a baseline without contrast learns from as many
            templates. Else they are predicted in the first.
        temperature: τ of the contrast.
        dropout: of the tower.

    Raises:
        ValueError: for a tower without a mask token, templates that cannot be filled, views that are always equal,
            other than one word for each class, and words that are not told apart.

    Source: Jian, Gao and Vosoughi, "Contrastive Learning for Prompt-Based Few-Shot Language Learners" (2022), arXiv
    2205.01308. There each loss has an optimiser of its own, and other examples of each class are appended to a text.
    """

    family = "supervised"
    papers = ("lm-supcon",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("text",))
    asks: ClassVar[Mapping[str, str]] = {"": "masks_words"}
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.5)}
    default_label: ClassVar[str] = "group"
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        templates: tuple[str, ...] = TEMPLATES,
        words: tuple[str, ...] = (),
        contrast: NonNegative = 1.0,
        alternate: bool = True,
        diverse: bool = False,
        temperature: Positive = 0.07,
        dropout: Fraction = 0.0,
    ) -> None:
        super().__init__(towers, target)
        (self.column,) = self.columns
        reader = self.text_tower
        if not reader.masks_words:
            raise ValueError(
                f"LMSupCon asks for a word behind a mask token, which the text tower {reader.name!r} does not know: "
                "take text=reader"
            )
        if len(templates) == 1 and contrast and not dropout:
            raise ValueError(
                "one template and dropout=0 make two views that are equal: give another template"
            )
        self.contrast, self.alternate, self.diverse, self.dropout = contrast, alternate, diverse, dropout
        self.templates = [MaskedTemplate(template, reader) for template in templates]
        classes = self.required_target().classes
        words = words or classes
        if len(words) != len(classes):
            raise ValueError(f"{len(words)} words for {len(classes)} classes: give one for each")
        self.class_tokens = [own_tokens(reader, word) for word in words]
        if len({tuple(tokens) for tokens in self.class_tokens} - {()}) < len(classes):
            raise ValueError(f"words={'/'.join(words)}: each class needs a word, and no two the same tokens")
        width = reader.width
        self.word_head = nn.Sequential(Linear(width, width, bias=True), nn.GELU(), nn.LayerNorm(width))
        head = nn.Sequential(Linear(width, width, bias=True), nn.Tanh())
        self.projections = nn.ModuleDict({self.columns[self.column]: head})
        self.objective = SupConLoss(temperature)
        if not contrast:
            head.requires_grad_(False)

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Set texts into templates, by draws that do not depend on the number of ranks."""
        tokens, others = batch[self.column], len(self.templates) - 1

        def draw(examples: int) -> Int[Tensor, "n 1"]:
            return 1 + torch.randint(others, (examples, 1)) if others else torch.zeros(examples, 1).long()

        second = drawn_for_batch(len(batch), torch.device("cpu"), draw)[:, 0].tolist()
        both = (self.filled(tokens, which) for which in ([0] * len(batch), second))
        views = {f"{self.column}.{number}": view for number, view in enumerate(both, 1)}
        return replace(batch, views={**batch.views, **views})

    def filled(self, tokens: Int[Tensor, "B L"], which: Sequence[int]) -> Int[Tensor, "B M"]:
        """Return texts in templates, by the number of each one's template, padded on the right."""
        tower = self.text_tower
        first, counts = len(starting(tower)), inside(tokens, tower.tokenizer.end).sum(1).tolist()
        rows = [
            self.templates[number].filled(row[first : count - 1])
            for row, count, number in zip(tokens.tolist(), counts, which, strict=True)
        ]
        longest = max(map(len, rows), default=1)
        padded = [[*row, *[0] * (longest - len(row))] for row in rows]
        return torch.tensor(padded, dtype=torch.long, device=tokens.device).view(len(rows), longest)

    def at_mask(self, tokens: Int[Tensor, "B M"]) -> Float[Tensor, "B W"]:
        """Return the state of the mask token of each filled template."""
        states = self.text_tower.states(tokens, self.dropout)
        rows = torch.arange(len(tokens), device=tokens.device)
        return states[rows, (tokens == self.text_tower.tokenizer.vocabulary).long().argmax(1)]

    def features(self, column: str, inputs: Tensor) -> Tensor:
        return self.at_mask(self.filled(inputs, [0] * len(inputs)))

    def encode(self, batch: Batch) -> Embeddings:
        return {f"{n}.{self.column}": self.at_mask(batch[f"{self.column}.{n}"]) for n in (1, 2)}

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        table = self.text_tower.token_table.weight
        words = torch.stack([table[tokens].mean(0) for tokens in self.class_tokens])
        return upcast(self.word_head(z[self.column]) @ words.T)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        views = [z[f"{n}.{self.column}"] for n in (1, 2)]
        losses: dict[str, Tensor] = {}
        if self.contrast and not (self.alternate and clock.step % 2):
            of_views = (F.normalize(self.project(self.column, h, "global"), dim=-1) for h in views)
            losses["contrast"] = self.contrast * self.objective(*of_views, labels=self.classes(batch))
        if not self.contrast or not self.alternate or clock.step % 2:
            predicted = views if self.diverse else views[:1]
            terms = [self.cross_entropy(self.logits({self.column: h}, batch), batch) for h in predicted]
            losses["words"] = torch.stack(terms).mean()
        return losses

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}
