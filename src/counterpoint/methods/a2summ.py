"""A2Summ: key frames of a clip and key sentences of its transcript, by attention between those of one time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from ..data.timelines import middles, resampled
from ..forms import BelowOne, Count, Natural, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.fusion.multiway import MultiwayBlock
from ..networks.heads import Linear
from ..networks.towers.sentences import is_sentence, sentence_times
from ..networks.towers.transformer import Embedding
from ..pairwise import Temperature, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, StepInfo, Target, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

_AT_ONCE = 64
"""Clips that are scored together, at most."""


class A2Summ(TowerMethod):
    """One transformer scores frames and sentences; those of one time attend to each other.

        X = blocks([cls; frames; cls; sentences]),   s = mlp(X),   p = sigmoid(s)
        L = focal(s of frames) + focal(s of sentences) + β InfoNCE(cls, cls) + λ inner

    A token attends to all of its column, and to a frame or a sentence of the other one if the middle of the frame lies
    in the time of the sentence. The class tokens attend to their own column alone. Sentence j has the segment vector j,
    and a frame the sum of those of the sentences that hold it. The focal term has γ = 2. The paper takes its mean over
    p and 1 − p as two columns, in which its α cancels. The inner term is `inner_contrast`. The views are plain, so that
    each frame has its time.

    In use `key_scores` gives p. A column is embedded by its class token, alone.

    Args:
        towers: of clips and of transcripts.
        recipe: is not used.
        target: the label of frames, 1 where one is key.
        sentences: the label of sentences.
        contrast: β.
        inner: λ.
        exclusion: frames or sentences beside a key one that are no negatives of the inner term.
        ratio: one in so many is a negative.
        mask: ``"full"`` lets every frame and every sentence of a clip attend to each other. This is the control.
        share_layers: all blocks share their weights, as in the official code.
        width: of tokens; a multiple of 4.
        depth: blocks.
        positions: frames and sentences that have positions; those behind share the last.
        dropout: rate in blocks.
        temperature: where τ of both contrasts starts; learned within [0.01, 1].

    Raises:
        ValueError: without a label, and for a width that is no multiple of 4.

    Source: He et al., "Align and Attend: Multimodal Summarization with Dual Contrastive Losses" (2023), arXiv
    2303.07284, without its regression of intervals for SumMe and TVSum. The official code has the inner term multiply
    by the scale without exp, which is not done here.
    """

    family = "fusion"
    papers = ("a2summ",)
    needs: ClassVar[Needs] = Needs(2, 2, modalities=("video", "transcript"))
    learns: ClassVar[tuple[Kind, ...]] = ("timelines",)
    default_label: ClassVar[str] = "key_frames"
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"sentences": ("timelines",)}
    tunable: ClassVar[Ranges] = {
        "contrast": (0.001, 1.0),
        "inner": (0.001, 3.0),
        "temperature": (0.03, 0.2),
    }

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        sentences: str = "key_sentences",
        contrast: NonNegative = 0.1,
        inner: NonNegative = 1.0,
        exclusion: Natural = 4,
        ratio: Positive = 16.0,
        mask: Literal["times", "full"] = "times",
        share_layers: bool = True,
        width: Count = 128,
        depth: Count = 2,
        positions: Count = 64,
        dropout: BelowOne = 0.1,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError("a2summ learns key frames: name a label with timelines, --labels key_frames")
        if width % 4:
            raise ValueError(f"width={width} must be a multiple of 4")
        self.target, self.sentences = target, sentences
        self.contrast, self.inner, self.mask = contrast, inner, mask
        self.exclusion, self.ratio, self.positions = exclusion, ratio, positions
        self.video, self.transcript = towers
        self.views = {column: View(tower.modality, "plain", column) for column, tower in towers.items()}
        self.tokens = nn.ModuleDict(
            {
                column: nn.Sequential(Linear(tower.width, width, bias=True), nn.Dropout(dropout))
                for column, tower in towers.items()
            }
        )
        self.classes, self.columns_embedding = Embedding(2, width, std=0.02), Embedding(2, width, std=0.02)
        self.position_tables = nn.ModuleDict(
            {column: Embedding(1 + positions, width, std=0.02) for column in towers}
        )
        self.segments = Embedding(positions, width, std=0.02)
        count = 1 if share_layers else depth
        self.blocks = nn.ModuleList(MultiwayBlock(width, 4, depth, 2, dropout) for _ in range(count))
        self.rounds = depth // count
        self.norms = nn.ModuleDict({column: nn.LayerNorm(width) for column in towers})
        self.scorers = nn.ModuleDict(
            {
                column: nn.Sequential(
                    Linear(width, width, bias=True),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                    Linear(width, 1, bias=True),
                )
                for column in towers
            }
        )
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.inner_temperature = Temperature(temperature, bounds=(0.01, 1.0))
        self.states_width = width

    @property
    def width(self) -> int:
        return self.states_width

    def encode(self, batch: Batch) -> Embeddings:
        return self.read({column: batch[column] for column in self.columns})

    def read(self, inputs: Mapping[str, Tensor]) -> Embeddings:
        """Return, of one column or both, what is read from the class token, the states of its parts, and their scores.

        They bear the names of the column, of it behind ``states.`` and behind ``scores.``.
        """
        inside = {column: self.inside(column, of_column) for column, of_column in inputs.items()}
        covers = self._covers(inputs, inside)
        tokens, masks = [], []
        for number, column in enumerate(self.columns):
            if column not in inputs:
                continue
            x = self.tokens[column](self.tower(column).states(inputs[column]))
            segments = self.segments.weight
            index = torch.arange(x.shape[1], device=x.device).clamp_max(self.positions - 1)
            if column == self.transcript:
                x = x + segments[index]
            elif covers is not None:
                sentences = torch.arange(covers.shape[2], device=x.device).clamp_max(self.positions - 1)
                x = x + covers.to(x) @ segments[sentences]
            first = self.classes.weight[number].expand(len(x), 1, -1)
            x = torch.cat([first, x], 1) + self.position_tables[column](F.pad(1 + index, (1, 0)))
            tokens.append(x + self.columns_embedding.weight[number])
            masks.append(F.pad(inside[column], (1, 0), value=True))
        counts = [part.shape[1] for part in tokens]
        seen = self._seen(masks, covers)
        x = torch.cat(tokens, 1)
        for _ in range(self.rounds):
            for block in self.blocks:
                assert isinstance(block, MultiwayBlock)
                # A column that is not there has no tokens, and its perceptron nothing to do.
                x = block(x, seen, counts if len(counts) == 2 else self._alone(inputs, counts[0]))
        z: Embeddings = {}
        for column, part in zip(
            [c for c in self.columns if c in inputs], torch.split(x, counts, 1), strict=True
        ):
            part = self.norms[column](part)
            z[column], z[f"states.{column}"] = part[:, 0], part[:, 1:]
            z[f"scores.{column}"] = self.scorers[column](part[:, 1:])[..., 0]
        return z

    def _alone(self, inputs: Mapping[str, Tensor], count: int) -> list[int]:
        return [count if column in inputs else 0 for column in self.columns]

    def inside(self, column: str, inputs: Tensor) -> Bool[Tensor, "B n"]:
        """Return which frames or sentences of inputs are no padding."""
        return is_sentence(inputs) if column == self.transcript else ~inputs[:, :, 0, 0, 0].isnan()

    def _covers(
        self, inputs: Mapping[str, Tensor], inside: Mapping[str, Bool[Tensor, "B _"]]
    ) -> Bool[Tensor, "B T S"] | None:
        """Return which frames lie in which sentences; None where one column is not there."""
        if len(inputs) < 2:
            return None
        start, end = sentence_times(inputs[self.transcript])[:, None].unbind(-1)
        middle = middles(inside[self.video])[..., None]
        covers = (start <= middle) & (middle < end)
        return covers & inside[self.video][..., None] & inside[self.transcript][:, None]

    def _seen(
        self, masks: list[Bool[Tensor, "B _"]], covers: Bool[Tensor, "B T S"] | None
    ) -> Bool[Tensor, "B n n"]:
        """Return which tokens each token attends to."""
        own = [mask[:, None].expand(-1, mask.shape[1], -1) for mask in masks]
        if covers is None:
            return own[0]
        if self.mask == "full":
            frames, sentences = (mask[:, 1:] for mask in masks)
            covers = frames[..., None] & sentences[:, None]
        across = F.pad(covers, (1, 0, 1, 0))
        return torch.cat([torch.cat([own[0], across], 2), torch.cat([across.mT, own[1]], 2)], 1)

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "n W"]:
        return self.read({column: inputs})[column]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        assert self.target is not None
        ranks = Ranks.present()
        keys, known = {}, {}
        losses: dict[str, Tensor] = {}
        for column, label in ((self.video, self.target.label), (self.transcript, self.sentences)):
            inside = self.inside(column, batch[column])
            told = resampled(batch.labels[label], inside.sum(1), inside.shape[1])
            known[column], keys[column] = inside & ~told.isnan(), told > 0
            scores = z[f"scores.{column}"]
            focal = sigmoid_focal_loss(scores, keys[column].to(scores), alpha=0.5)
            weights = known[column].flatten().to(scores)
            losses[f"focal {column}"] = moments.mean(focal.flatten(), weights, ranks=ranks)
        if self.contrast:
            x, y = (F.normalize(z[column], dim=-1) for column in self.columns)
            losses["contrast"] = self.contrast * self.objective(x, y)
        if self.inner:
            terms, has = inner_contrast(
                [z[f"states.{column}"] for column in self.columns],
                [keys[column] for column in self.columns],
                [
                    hard_negatives(z[f"scores.{c}"], keys[c], known[c], self.exclusion, self.ratio)
                    for c in keys
                ],
                self.inner_temperature.inverse(),
            )
            losses["inner"] = self.inner * moments.mean(terms, has.to(terms), ranks=ranks)
        return losses

    @torch.no_grad()
    def key_scores(self, inputs: Mapping[str, Any]) -> dict[str, Float[Tensor, "n _"]]:
        """Return the probability that each frame and each sentence is key, by column; see `counterpoint.types`."""
        was_training, device = self.training, next(self.parameters()).device
        raws = {column: self.raw_inputs(column, inputs[column]) for column in self.columns}
        self.eval()
        of_columns: dict[str, list[Tensor]] = {column: [] for column in self.columns}
        try:
            for start in range(0, len(raws[self.video]), _AT_ONCE):
                part = {
                    column: self.inputs[column](raw[start : start + _AT_ONCE]).to(device)
                    for column, raw in raws.items()
                }
                z = self.read(part)
                for column, prepared in part.items():
                    scores = z[f"scores.{column}"].sigmoid()
                    of_columns[column] += scores.masked_fill(~self.inside(column, prepared), torch.nan).cpu()
        finally:
            self.train(was_training)
        scored = {
            column: nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)
            for column, rows in of_columns.items()
        }
        clips = raws[self.video]
        scored[self.video] = resampled(scored[self.video], clips.lengths, clips.frames.shape[1])
        return scored


def hard_negatives(
    scores: Float[Tensor, "B n"],
    keys: Bool[Tensor, "B n"],
    known: Bool[Tensor, "B n"],
    exclusion: int,
    ratio: float,
) -> Bool[Tensor, "B n"]:
    """Return the parts of highest score that are not key and lie further than ``exclusion`` from every key one.

    They are one in ``ratio`` of the known parts of a row, and one at least, where there are as many.

    >>> scores = torch.tensor([[0.9, 0.8, 0.1, 0.5]])
    >>> keys = torch.tensor([[True, False, False, False]])
    >>> hard_negatives(scores, keys, torch.ones(1, 4, dtype=torch.bool), 1, 4).tolist()
    [[False, False, False, True]]
    """
    wide = F.max_pool1d(keys[:, None].float(), 2 * exclusion + 1, 1, exclusion)[:, 0] > 0
    usable = known & ~wide
    count = (known.sum(1) / ratio).long().clamp_min(1)
    order = scores.detach().masked_fill(~usable, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return (order.argsort(1) < count[:, None]) & usable


def inner_contrast(
    states: list[Float[Tensor, "B _ W"]],
    keys: list[Bool[Tensor, "B _"]],
    negatives: list[Bool[Tensor, "B _"]],
    scale: Tensor,
) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Return the inner contrast of each row, and which rows have a key of both columns and a negative of each.

        k_c = nz(mean of the key states of column c)
        l_c = −log softmax([k_v · k_t, k_c · nz(negatives of c)] · scale)_0,   the term is (l_v + l_t) / 2

    It is 0 where a row lacks one of these.
    """
    has = torch.stack([mask.any(1) for mask in (*keys, *negatives)]).all(0)
    centres = [
        F.normalize((of * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1), dim=-1)
        for of, mask in zip(states, keys, strict=True)
    ]
    positive = (centres[0] * centres[1]).sum(-1, keepdim=True)
    terms = []
    for centre, of, mask in zip(centres, states, negatives, strict=True):
        others = torch.einsum("bd,bnd->bn", centre, F.normalize(of, dim=-1))
        logits = scale * torch.cat([positive, others], 1)
        logits = logits.masked_fill(F.pad(~mask, (1, 0)), -torch.inf)
        terms.append(logits.logsumexp(1) - logits[:, 0])
    return torch.where(has, (terms[0] + terms[1]) / 2, 0.0), has
