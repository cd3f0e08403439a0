"""Speech and text in one encoder, made consistent along their best alignment; a recogniser beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import BelowOne, Natural, NonNegative
from ..losses.best_alignment import BestAlignmentLoss
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import inside
from ..networks.towers.parts.temporal import TimeNorm, TimeResidual
from ..networks.towers.sound import SoundTower
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import check_waves
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired

_MASKED = "text.masked"
"""The view of texts some of whose tokens are masked."""


class BestAlignment(TowerMethod):
    """L = CTC(h(s), w) + ρ CE(h(u), w) + λ align(s, u),   s = g(speech), u = g(text).

    Both towers' states go through one encoder g, from which one head h reads tokens w: of speech by CTC, of text whose
    tokens are masked now and then by cross-entropy. `BestAlignmentLoss` brings the states of a frame and of the token
    that it says together. Rows without speech learn from their text alone; rows without text teach nothing. Rows with
    fewer frames than CTC needs are left out of CTC and of the alignment.

    A state of the audio tower becomes several frames, so that tokens as short as a letter have one each. The start and
    the end token of a text are aligned too, with the silence around speech.

    Args:
        towers: of sounds, with states, and of texts.
        recipe: gives the width of states.
        weight: λ; 0 is CTC with a shared encoder.
        reconstruction: ρ.
        masked: the share of tokens that g sees as the padding token in training.
        frames: how many frames a state of the audio tower becomes.
        depth: residual blocks of g.
        cost, gamma, path: of the alignment; see `BestAlignmentLoss`.

    Raises:
        ValueError: for columns that are not one of sounds and one of texts.

    Source: Peyser et al., "Improving Joint Speech-Text Representations Without Alignment" (2023), arXiv 2308.06125. Its
    recogniser is a transducer and its encoder a conformer; sizes, and what is aligned how, are from memory.
    """

    family = "speech"
    papers = ("best-alignment-speech-text",)
    needs: ClassVar[Needs] = Needs(2, 2, modalities=("audio", "text"))
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"weight": (0.1, 10.0), "reconstruction": (0.1, 10.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        weight: NonNegative = 1.0,
        reconstruction: NonNegative = 1.0,
        masked: BelowOne = 0.15,
        frames: Natural = 4,
        depth: Natural = 2,
        cost: Literal["euclidean", "cosine"] = "euclidean",
        gamma: NonNegative = 0.0,
        path: Literal["best", "uniform"] = "best",
    ) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.speech, self.text = towers
        width = recipe.widths.embedding
        self.frames, self.masked = max(frames, 1), masked
        self.adapters = nn.ModuleDict(
            {
                self.speech: Linear(towers[self.speech].width, width * self.frames, bias=True),
                self.text: Linear(towers[self.text].width, width, bias=True),
            }
        )
        self.shared = nn.ModuleList(TimeResidual(width, 2**block) for block in range(depth))
        self.norm = TimeNorm(width)
        self.blank = self.text_tower.tokenizer.vocabulary
        self.head = Linear(width, self.blank + 1, bias=True)
        self.alignment = BestAlignmentLoss(cost=cost, gamma=gamma, path=path)
        self.weight, self.reconstruction = weight, reconstruction

    @property
    def width(self) -> int:
        return self.norm.normalized_shape[0]

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Mask tokens of the texts, by draws that do not depend on the number of ranks."""
        if not self.masked:
            return batch
        ranks, tokens, tokenizer = Ranks.present(), batch[self.text], self.text_tower.tokenizer
        counts = ranks.counts(len(tokens), tokens.device)
        # For as many tokens as there can be, since ranks may hold texts of other lengths.
        first = sum(counts[: ranks.rank])
        draws = torch.rand(sum(counts), tokenizer.context)[first : first + len(tokens), : tokens.shape[1]]
        draws = draws.to(tokens.device)
        spared = tokens == tokenizer.end  # by which a text is known to end
        seen = torch.where((draws < self.masked) & ~spared, 0, tokens)
        return replace(batch, views={**batch.views, _MASKED: seen})

    def encode(self, batch: Batch) -> Embeddings:
        seen = batch.views.get(_MASKED, batch[self.text])
        there = batch.has(self.speech)
        heard = there.clone()
        heard[0] |= ~there.any()  # one at least, so that the length of states is known
        states = self.states(self.speech, batch[self.speech][heard])
        speech = states.new_zeros(len(there), *states.shape[1:]).index_copy(0, heard.nonzero()[:, 0], states)
        return {self.speech: speech * there[:, None, None], self.text: self.states(self.text, seen)}

    def states(self, column: str, inputs: Tensor) -> Float[Tensor, "B T width"]:
        """Return g of the frames or of the tokens of a column's inputs, zero behind their end."""
        tower = self.tower(column)
        if isinstance(tower, SoundTower):
            states = tower.states(inputs)
            mask = (states != 0).any(-1).repeat_interleave(self.frames, 1)
            states = self.adapters[column](states).unflatten(2, (self.frames, -1)).flatten(1, 2)
        else:
            text = self.text_tower
            mask = inside(inputs, text.tokenizer.end, begins_with_end=text.begins_with_end)
            states = self.adapters[column](text.states(inputs))
        x = states.mT
        for block in self.shared:
            x = block(x, mask)
        return self.norm(x).mT * mask[..., None]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        text, tokens = self.text_tower, batch[self.text]
        token_mask = inside(tokens, text.tokenizer.end, begins_with_end=text.begins_with_end)
        heard = (z[self.speech] != 0).any(-1)
        frames, length = heard.sum(1), token_mask.sum(1)
        there = batch.has(self.text)
        both = there & batch.has(self.speech) & (frames >= _least(tokens, token_mask))
        ranks = Ranks.present()

        def mean(values: Tensor, rows: Tensor) -> Tensor:
            return moments.mean(values / length, rows.to(values.dtype), ranks=ranks)

        log_p = upcast(self.head(z[self.speech])).log_softmax(-1).transpose(0, 1)
        ctc = F.ctc_loss(
            log_p, tokens, frames.clamp_min(1), length, blank=self.blank, reduction="none", zero_infinity=True
        )
        logits = upcast(self.head(z[self.text]))
        guessed = F.cross_entropy(logits.mT, tokens, reduction="none")
        losses = {
            "ctc": mean(ctc, both),
            "text": self.reconstruction * mean((guessed * token_mask).sum(1), there),
        }
        if self.weight:
            aligned = self.alignment(z[self.speech], z[self.text], x_mask=heard, y_mask=token_mask, rows=both)
            losses["alignment"] = self.weight * aligned
        return losses

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "B width"]:
        """Return the mean of a column's states."""
        states = self.states(column, inputs)
        return states.sum(1) / (states != 0).any(-1).sum(1, keepdim=True).clamp_min(1)

    @torch.no_grad()
    def transcribe(self, sounds: Any) -> list[str]:
        """Return what is said in sounds: the likeliest token of each frame, without repetitions and blanks.

        Raises:
            ValueError: for inputs that are no sounds, or none.
            LookupError: for a tokenizer that cannot turn tokens into text again.
        """
        tokenizer: Any = self.text_tower.tokenizer
        if not hasattr(tokenizer, "decode"):
            raise LookupError(f"{type(tokenizer).__name__} cannot turn tokens into text again")
        prepared = self.tower(self.speech).input(check_waves(sounds)).to(next(self.parameters()).device)
        was_training = self.training
        self.eval()
        try:
            states = self.states(self.speech, prepared)
            best = self.head(states).argmax(-1)
        finally:
            self.train(was_training)
        heard = (states != 0).any(-1)
        return [
            tokenizer.decode(collapsed(row[mask], self.blank)) for row, mask in zip(best, heard, strict=True)
        ]


def collapsed(tokens: Int[Tensor, " T"], blank: int) -> Int[Tensor, " L"]:
    """Return the tokens that frames say: a token's repetitions once, and no blanks.

    >>> collapsed(torch.tensor([5, 5, 9, 5, 7, 7]), blank=9).tolist()
    [5, 5, 7]
    """
    kept = torch.unique_consecutive(tokens)
    return kept[kept != blank]


def _least(tokens: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"]) -> Int[Tensor, " B"]:
    """Return the fewest frames in which CTC can say some tokens: one each, and one between two that are the same."""
    again = (tokens[:, 1:] == tokens[:, :-1]) & mask[:, 1:]
    return mask.sum(1) + again.sum(1)
