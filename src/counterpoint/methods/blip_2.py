"""BLIP-2: queries are first aligned with texts, and then speak to a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import MILLoss
from ..modalities import MODALITIES, PAIR_PASSES, resolve
from ..networks.base import Towers
from ..networks.bridges.qformer import QFormerBridge
from ..networks.caption_decoder import shifted, summed_log_likelihood
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import inside
from ..pairwise import Temperature, moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Pairs, PairStates, Stage, StepInfo
from ._matching import mean_of_all
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges
from .coavt import drawn_negatives, text_numbers
from .needs import Needs

ALIGN, SPEAK = "align", "speak"
"""Stages of a run."""
QUERIES, _CAPTION = "queries.", "caption."
_PICTURE, _TOKENS, _LABEL, _MATCH = "pair.picture", "pair.tokens", "pair.label", "pair.match"
_SMOOTHING = 0.1
_AT_ONCE = 256
"""Pictures, texts or pairs that are read at once in use."""


class BLIP2(SpeakingMethod):
    """A Q-Former between a tower of pictures and a language model is trained in two stages.

    Align: K queries read the patches, and one transformer reads texts too.

        s_ij = max_k <q_ik, t_j> / τ,   q = nz(W_q queries),   t = nz(W_t first token of the text alone)
        L = C(s) + matching · CE(mean_k W_m query_k of a pair) + captioning · CE(token | earlier tokens, queries)

    C is the cross-entropy in both directions, in which rows with the same text are no negatives of each other. Queries
    read no text in it. Pairs to be matched are read both ways: each row's own, and the row with another text and with
    another picture, drawn by the softmax of s among the rows of this rank. Captions are read causally behind the
    queries, with a label smoothing of 0.1.

    Speak: the queries become tokens of the language model by a linear layer, and the loss is that of `SFT`. Nothing
    that reads texts in the Q-Former moves.

    The model replies and embeds: a picture by K vectors, whose best counts, and a text by one. A pair is scored by the
    logit that it matches (``joint``). The language model is frozen in the paper: ``tune=frozen``.

    Args:
        towers: of pictures, with features of patches, of conversations, and of texts, whose tokenizer alone is used.
        recipe: gives the width of the embedding.
        align, speak: shares of the steps of the two stages, relative to each other; with 0 a stage is left out.
        matching, captioning: weights of the terms; with 0 a term is left out.
        tokens: K; 8 unless given. The paper has 32.
        tune_image: as for `SFT`.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        ValueError: for two stages of 0.
        LookupError: for a picture tower without features of patches.

    Source: Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
    Models" (2023), arXiv 2301.12597, and its code. There the Q-Former starts from BERT, contrast is smoothed too, and
    negatives are drawn from the rows of all ranks.
    """

    family = "speaking"
    papers = ("blip-2",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "talk", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}
    packs: ClassVar[bool] = True
    pair_heads: tuple[str, ...] = ("joint",)
    bridge_name: ClassVar[str] = "qformer"
    bridge_options: Mapping[str, Any] = MappingProxyType({})
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        align: NonNegative = 1.0,
        speak: NonNegative = 1.0,
        matching: NonNegative = 1.0,
        captioning: NonNegative = 1.0,
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers, self.bridge_name, tokens, tune_image, **self.bridge_options)
        _, _, self.text = towers
        self.matching, self.captioning = matching, captioning
        speaking = self._names()
        self.tower(self.text).requires_grad_(False)
        tokenizer = self.text_tower.tokenizer
        first = tokenizer(["a", "b"])[:, 0]
        self.skipped = int(first[0] == first[1])  # a token that begins every text is not predicted
        self.bridge.add_texts(tokenizer.vocabulary, tokenizer.context)
        width = self.bridge.out.in_features
        self.match_head = Linear(width, 2, std=0.02, bias=True)
        self.projections = nn.ModuleDict(
            {
                self.columns[column]: Linear(width, recipe.widths.embedding)
                for column in (self.picture, self.text)
            }
        )
        self.objective = MILLoss("max", temperature=Temperature(temperature, bounds=(0.01, 1.0)))
        for weight, part in ((matching, self.match_head), (captioning, self.bridge.transformer.head)):
            part.requires_grad_(bool(weight))
        unaligned = ("towers.talk", f"bridge_projections.{self.picture}.out.")
        aligned = [name for name in self._names() if not name.startswith(unaligned)]
        self.set_stages({ALIGN: (align, aligned), SPEAK: (speak, speaking)})

    def set_stages(self, stages: Mapping[str, tuple[float, Sequence[str]]]) -> None:
        """Set the stages: by name the share of the steps, and how the names of parameters begin that move.

        Raises:
            ValueError: for shares that are all 0.
        """
        self.stages = tuple(
            Stage(name, share, tuple(moves)) for name, (share, moves) in stages.items() if share
        )
        if not self.stages:
            zeros = " and ".join(f"{name}=0" for name in stages)
            raise ValueError(f"{zeros} leave no stage: give one of them a share of the steps")
        self.stage = self.stages[-1].name

    def _names(self) -> list[str]:
        return [name for name, _ in self.named_parameters()]

    @property
    def bridge(self) -> QFormerBridge:
        """The Q-Former."""
        bridge = self.bridge_projections[self.picture]
        assert isinstance(bridge, QFormerBridge)
        return bridge

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture, self.text)

    @property
    def width(self) -> int:
        """The numbers of an embedding: K vectors side by side, of a text K copies."""
        head = self.projections[self.columns[self.picture]]
        assert isinstance(head, Linear)
        return self.bridge.tokens * head.out_features

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        self.stage = clock.stage or self.stages[-1].name
        unread = self.unread[self.stage]
        return replace(batch, views={name: view for name, view in batch.views.items() if name not in unread})

    @property
    def unread(self) -> dict[str, tuple[str, ...]]:
        """The views that each stage does not read."""
        return {ALIGN: (self.talk,), SPEAK: (self.text,)}

    def encode(self, batch: Batch) -> Embeddings:
        if self.stage == SPEAK:
            return super().encode(batch)
        patches, tokens = self.patches_to_align(batch), batch[self.text]
        z = {self.picture: patches, self.text: self.features(self.text, tokens)}
        if self.captioning:
            targets = tokens[:, self.skipped :]
            mask, transformer = self._inside(targets), self.bridge.transformer
            # Queries read no text in the causal pass either, so that it serves contrast too.
            queries, words = self.bridge.query_states(
                patches, shifted(targets, transformer.start), mask, causal=True
            )
            z[_CAPTION + self.text] = summed_log_likelihood(
                transformer.head, words, targets, mask, _SMOOTHING
            )
        else:
            queries, _ = self.bridge.query_states(patches)
        return {**z, QUERIES + self.picture: queries}

    def patches_to_align(self, batch: Batch) -> Float[Tensor, "B n w"]:
        """Return the patches that the queries read in the first stage."""
        return self.speaker.patches(batch[self.picture])

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.text:
            return self.bridge.transformer.text_states(inputs, self._inside(inputs))[:, 0]
        if column == self.picture:
            return self.speaker.patches(inputs)
        return super().features(column, inputs)

    def project(
        self, column: str, features: Float[Tensor, "n W"] | Float[Tensor, "n P w"], head: str
    ) -> Float[Tensor, "n D"]:
        """Return K unit-norm vectors side by side: of a text's state, of patches, or of a single patch."""
        if column == self.text:
            return self._embedded(column, features).repeat(1, self.bridge.tokens)
        queries, _ = self.bridge.query_states(features if features.ndim == 3 else features[:, None])
        return self._embedded(column, queries).flatten(1)

    def similarity(self, a: Float[Tensor, "n D"], b: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
        """Return the cosine of the best of K vectors."""
        # Unit norm of the whole left each of the vectors a norm of K^−½.
        x, y = (z.view(len(z), self.bridge.tokens, -1) for z in (a, b))
        return self.bridge.tokens * torch.einsum("nkd,mkd->nmk", x, y).amax(-1)

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        if self.stage != ALIGN or not self.matching:
            return {}
        tokens = batch[self.text]
        texts = text_numbers(tokens, self.text_tower.tokenizer.end)
        same = texts[:, None] == texts
        x, t = (
            self._embedded(self.picture, z[QUERIES + self.picture]),
            self._embedded(self.text, z[self.text]),
        )
        s = torch.einsum("ikd,jd->ijk", x, t).amax(-1) * self.objective.temperature.inverse()
        other_text, other_picture = (drawn_negatives(scores, same) for scores in (s, s.T))
        rows = (~same.all(1)).nonzero()[:, 0]
        label = torch.ones_like(rows)
        return {
            _PICTURE: torch.cat([rows, rows, other_picture[rows]]),
            _TOKENS: tokens[torch.cat([rows, other_text[rows], rows])],
            _LABEL: torch.cat([label, 0 * label, 0 * label]),
        }

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        return {_MATCH: self.matched(z[self.picture][pairs[_PICTURE]], pairs[_TOKENS])}

    def matched(self, patches: Float[Tensor, "n P w"], tokens: Int[Tensor, "n L"]) -> Float[Tensor, "n 2"]:
        """Return the logits of whether pictures and texts belong together: no, and yes."""
        queries, _ = self.bridge.query_states(patches, tokens, self._inside(tokens))
        return self.match_head(queries).mean(1)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        if self.stage == SPEAK:
            return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
        x, t = (
            self._embedded(self.picture, z[QUERIES + self.picture]),
            self._embedded(self.text, z[self.text]),
        )
        texts = text_numbers(batch[self.text], self.text_tower.tokenizer.end)
        losses = {"contrast": self.objective(x, t[:, None], groups=texts)}
        if self.matching:
            wrong = F.cross_entropy(upcast(z[_MATCH]), z[_LABEL], reduction="none")
            losses["matching"] = self.matching * mean_of_all(wrong)
        if self.captioning:
            summed, count = z[_CAPTION + self.text].unbind(1)
            count = count.detach()
            mean = moments.mean(-summed / count.clamp_min(1), count, ranks=Ranks.present())
            losses["caption"] = self.captioning * mean
        return losses

    def passes(self) -> dict[str, float]:
        shares = {stage.name: stage.share for stage in self.stages}
        pairs = 3 * bool(self.matching) * shares.get(ALIGN, 0) / sum(shares.values())
        return {**super().passes(), PAIR_PASSES: pairs}

    @torch.no_grad()
    def pair_states(self, column: str, raw: Any) -> PairStates:
        """Return what `pair_scores` needs of inputs of a column, as for `embed`.

        Of pictures these are patches, of texts tokens.
        """
        tower, modality = self.tower(column), MODALITIES.get(self.tower(column).modality)
        raw = raw if modality.accept is None else resolve(modality.accept)(raw, tower.input)
        raw = resolve(modality.check)(raw)
        if column == self.text:
            tokens = self.text_tower.tokenizer(raw)
            # Those of several calls have one shape.
            return {"tokens": F.pad(tokens, (0, self.text_tower.tokenizer.context - tokens.shape[1]))}
        prepared = tower.input(raw.to(self._device))
        parts = [
            self._evaluated(self.speaker.patches, part).cpu() for part in torch.split(prepared, _AT_ONCE)
        ]
        return {"patches": torch.cat(parts)}

    @torch.no_grad()
    def pair_scores(self, a: PairStates, b: PairStates) -> Float[Tensor, "n 1"]:
        """Return the logit that a picture and a text belong together, row by row."""
        pictures, texts = (a, b) if "patches" in a else (b, a)
        parts = zip(
            torch.split(pictures["patches"], _AT_ONCE), torch.split(texts["tokens"], _AT_ONCE), strict=True
        )
        logits = [
            self._evaluated(self.matched, p.to(self._device), t.to(self._device)).cpu() for p, t in parts
        ]
        no, yes = torch.cat(logits).unbind(1)
        return (yes - no)[:, None]

    def _embedded(self, column: str, states: Float[Tensor, "*n W"]) -> Float[Tensor, "*n d"]:
        return F.normalize(self.projections[self.columns[column]](states), dim=-1)

    def _inside(self, tokens: Int[Tensor, "n L"]) -> Tensor:
        return inside(tokens, self.text_tower.tokenizer.end)
