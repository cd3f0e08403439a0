"""VideoLights: the moments of a clip that a query asks for, and how salient each of its frames is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..data.timelines import lengths_of, middles, resampled
from ..forms import BelowOne, Count, NonNegative
from ..modalities import PAIR_PASSES
from ..networks.base import TextTower, Towers
from ..networks.fusion.moments import FeatureRefinement, MomentDecoder, QueryClipEncoder, SpanFeedback
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import inside
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, Pairs, StepInfo, Target, View
from ._matching import draw_others
from ._moments import MARGIN, agreement, ranked, separated, set_loss, spans_of
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

_AT_ONCE = 64
"""Clips that are asked about together, at most."""


class VideoLights(TowerMethod):
    """A detector finds the spans that a query asks for, and frames get a saliency for it.

        V' = refine(V, T),   g, M = encode(V', T),   spans = decode(M),   s_i = (W_a m_i · W_b g) / √d
        L = set loss of spans + saliency terms + w (1 − cos(label, cos(mean of T, V'_i)))

    Saliency terms compare frames of a clip, and each clip with the query of another row (`_moments`), which is drawn
    among those of another text. Feedback is a second saliency, of what the likeliest span shows (`SpanFeedback`), and
    in use the mean of both is returned. The views are plain, so that each frame has its time.

    A column is embedded by the mean of its projected parts, which no term compares.

    Args:
        towers: of clips and of texts, with features of words.
        recipe: is not used.
        target: the label with the saliency of frames.
        moments: the label that is above 0 in frames that the query asks for.
        refinement: V' and its alignment; with 0, V' is V. Otherwise the weight w of the alignment.
        feedback: weight of the second saliency; with 0 there is none.
        hard: weight of the terms that grow with the epochs.
        queries: spans of a clip.
        width: of tokens; a multiple of 4.
        depth: blocks of the encoder, and layers of the decoder.
        dropout: rate in the projections.

    Raises:
        LookupError: at the first batch, for a tower of texts without features of words.
        ValueError: without a label, and for a width that is no multiple of 4.

    Source: Paul et al., "VideoLights: Feature Refinement and Cross-Task Alignment Transformer for Joint Video Highlight
    Detection and Moment Retrieval" (2024), arXiv 2412.01558, without training on written captions and without the
    contrast of matched spans with words. Blocks are pre-norm. Means over rows take the place of sums, each clip has a
    minimum of its own in place of one of the batch, all pairs of frames that of two drawn ones, and a drawn query that
    of the next row, which may ask for the same.
    """

    family = "fusion"
    papers = ("videolights",)
    needs: ClassVar[Needs] = Needs(2, 2, modalities=("video", "text"))
    learns: ClassVar[tuple[Kind, ...]] = ("timelines",)
    default_label: ClassVar[str] = "saliency"
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"moments": ("timelines",)}
    draws = True
    tunable: ClassVar[Ranges] = {"refinement": (0.05, 1.0), "feedback": (0.1, 3.0), "hard": (0.01, 10.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        moments: str = "moments",
        refinement: NonNegative = 0.2,
        feedback: NonNegative = 1.0,
        hard: NonNegative = 1.0,
        queries: Count = 10,
        width: Count = 128,
        depth: Count = 2,
        dropout: BelowOne = 0.1,
    ) -> None:
        super().__init__(towers)
        if target is None:
            raise ValueError("videolights learns saliency: name a label with timelines, --labels saliency")
        if width % 4:
            raise ValueError(f"width={width} must be a multiple of 4")
        self.target, self.moments = target, moments
        self.refinement, self.feedback, self.hard = refinement, feedback, hard
        self.video, self.text = towers
        self.views = {column: View(tower.modality, "plain", column) for column, tower in towers.items()}
        self.tokens = nn.ModuleDict(
            {
                column: nn.Sequential(
                    nn.LayerNorm(tower.width),
                    nn.Dropout(dropout),
                    Linear(tower.width, width, bias=True),
                    nn.ReLU(),
                    nn.LayerNorm(width),
                    nn.Dropout(dropout),
                    Linear(width, width, bias=True),
                )
                for column, tower in towers.items()
            }
        )
        self.refine = FeatureRefinement(width) if refinement else None
        self.encoder = QueryClipEncoder(width, depth)
        self.decoder = MomentDecoder(width, depth, queries)
        self.again = SpanFeedback(width) if feedback else None
        self.of_frames, self.of_whole = Linear(width, width), Linear(width, width)
        self.states_width = width

    @property
    def width(self) -> int:
        return self.states_width

    def _of_video(self, name: str) -> str:
        return f"{name}.{self.video}"

    def _of_text(self, name: str) -> str:
        return f"{name}.{self.text}"

    def parts(self, column: str, inputs: Tensor) -> tuple[Float[Tensor, "B n W"], Bool[Tensor, "B n"]]:
        """Return the projected frames or words of inputs, and which of them are no padding."""
        tower = self.tower(column)
        if isinstance(tower, TextTower):
            mask = inside(inputs, tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        else:
            mask = ~inputs[:, :, 0, 0, 0].isnan()
        x: Tensor = self.tokens[column](tower.states(inputs))
        return x * mask[..., None], mask

    def features(self, column: str, inputs: Tensor) -> Float[Tensor, "n W"]:
        x, mask = self.parts(column, inputs)
        return x.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)

    def passes(self) -> dict[str, float]:
        return {**super().passes(), PAIR_PASSES: 2}  # with its own query, and with another row's

    def encode(self, batch: Batch) -> Embeddings:
        return self.read(batch[self.video], batch[self.text])

    def read(self, clips: Tensor, texts: Tensor) -> Embeddings:
        """Return spans, their logits, saliency and what they are computed of, for clips and their queries."""
        frames, shown = self.parts(self.video, clips)
        words, said = self.parts(self.text, texts)
        # Gradient caching knows numbers alone.
        z = {
            self._of_video("frames"): frames,
            self._of_video("shown"): shown.to(frames),
            self._of_text("words"): words,
            self._of_text("said"): said.to(frames),
        }
        saliency, memory, refined = self.saliency(frames, words, shown, said)
        spans, logits = self.decoder(memory, shown)
        of_video = {"saliency": saliency, "spans": spans, "logits": logits}
        if self.refine is not None:
            mean = words.sum(1, keepdim=True) / said.sum(1)[:, None, None].clamp_min(1)
            of_video["alignment"] = F.cosine_similarity(refined, mean, dim=-1)
        if self.again is not None:
            best = logits[:, -1].argmax(1)
            centre, length = (
                spans[torch.arange(len(spans), device=spans.device), -1, best].detach().unbind(-1)
            )
            middle = middles(shown)
            chosen = ((middle - centre[:, None]).abs() <= length[:, None] / 2) & shown
            of_video["feedback"] = self.again(frames, memory, chosen)
        return z | {self._of_video(name): value for name, value in of_video.items()}

    def saliency(
        self,
        frames: Float[Tensor, "B T W"],
        words: Float[Tensor, "B L W"],
        shown: Bool[Tensor, "B T"],
        said: Bool[Tensor, "B L"],
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T W"], Float[Tensor, "B T W"]]:
        """Return saliency, frames behind the encoder, and refined frames."""
        refined = frames if self.refine is None else self.refine(frames, words, said)
        whole, memory = self.encoder(refined, words, shown, said)
        scores = (self.of_frames(memory) * self.of_whole(whole)[:, None]).sum(-1) / frames.shape[-1] ** 0.5
        return scores, memory, refined

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        # Rows of one text count as one item, so that none of them is a negative of another.
        _, texts = torch.unique(batch[self.text], dim=0, return_inverse=True)
        other, has_other = draw_others(torch.zeros(len(batch), len(batch), device=texts.device), texts)
        rows = has_other.nonzero()[:, 0]
        return {"pair.clip": rows, "pair.query": other[rows]}

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        clip, query = pairs["pair.clip"], pairs["pair.query"]
        shown, said = z[self._of_video("shown")][clip] > 0, z[self._of_text("said")][query] > 0
        return {
            "negative": self.saliency(
                z[self._of_video("frames")][clip], z[self._of_text("words")][query], shown, said
            )[0]
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        assert self.target is not None
        ranks = Ranks.present()
        shown, asked = z[self._of_video("shown")] > 0, batch.labels[self.moments]
        label = resampled(batch.labels[self.target.label], shown.sum(1), shown.shape[1])
        known = shown & ~label.isnan()
        label = label.nan_to_num()
        negative = (
            z[self._of_video("saliency")]
            .new_zeros(z[self._of_video("saliency")].shape)
            .index_copy(0, z["pair.clip"], z["negative"])
        )
        paired = torch.zeros(len(batch), dtype=torch.bool, device=shown.device)
        paired[z["pair.clip"]] = True

        def mean(terms: tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]) -> Float[Tensor, ""]:
            values, has = terms
            return moments.mean(values, has.to(values), ranks=ranks)

        losses = {
            "spans": mean(
                set_loss(
                    z[self._of_video("spans")],
                    z[self._of_video("logits")],
                    spans_of(asked),
                    lengths_of(asked) > 0,
                )
            )
        }
        losses["margin"] = mean(separated(z[self._of_video("saliency")], label, known, MARGIN))
        losses["ranking"] = mean(
            ranked(z[self._of_video("saliency")], negative, label, known, known & paired[:, None])
        )
        off = (F.softplus(negative) * known).sum(1) / known.sum(1).clamp_min(1)
        losses["other query"] = mean((off, paired & known.any(1)))
        cosine, squares, has = agreement(z[self._of_video("saliency")], label, known)
        losses["agreement"] = mean((cosine, has))
        if self.hard:
            losses["hard"] = self.hard * (1 + clock.epoch) * mean((squares, has))
        if self.feedback:
            again, _, has = agreement(z[self._of_video("feedback")], label, known)
            losses["feedback"] = self.feedback * mean((again, has))
        if self.refinement:
            aligned, _, has = agreement(z[self._of_video("alignment")], label, known)
            losses["alignment"] = self.refinement * mean((aligned, has))
        return losses

    @torch.no_grad()
    def find_moments(self, inputs: Mapping[str, Any]) -> tuple[Float[Tensor, "n q 3"], Float[Tensor, "n T"]]:
        """Return spans and the saliency of frames; see `counterpoint.types.FindsMoments`."""
        was_training, device = self.training, next(self.parameters()).device
        clips, texts = (self.raw_inputs(column, inputs[column]) for column in self.columns)
        self.eval()
        spans: list[Tensor] = []
        saliency: list[Tensor] = []
        try:
            for start in range(0, len(clips), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                z = self.read(
                    self.inputs[self.video](clips[part]).to(device),
                    self.inputs[self.text](texts[part]).to(device),
                )
                centre, length = z[self._of_video("spans")][:, -1].unbind(-1)
                ends = [(centre - length / 2).clamp_min(0), (centre + length / 2).clamp_max(1)]
                spans += torch.stack([*ends, z[self._of_video("logits")][:, -1].sigmoid()], -1).cpu()
                scores = (
                    (z[self._of_video("saliency")] + z[self._of_video("feedback")]) / 2
                    if self.feedback
                    else z[self._of_video("saliency")]
                )
                saliency += scores.masked_fill(z[self._of_video("shown")] == 0, torch.nan).cpu()
        finally:
            self.train(was_training)
        padded = nn.utils.rnn.pad_sequence(saliency, batch_first=True, padding_value=torch.nan)
        return torch.stack(spans), resampled(padded, clips.lengths, clips.frames.shape[1])
