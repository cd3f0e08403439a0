"""The parts of a detector of moments: queries into clips, clips into spans, and a span back into clips."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..decoder import sine_cosine_positions
from ..heads import Linear
from ..towers.transformer import Embedding, TransformerBlock
from .cross_attention import CrossAttentionBlock

PAPERS = {"videolights": ("FeatureRefinement", "MomentDecoder", "QueryClipEncoder", "SpanFeedback")}


class FeatureRefinement(nn.Module):
    """Frames that know which words speak of them.

        C = softmax over words of T Vᵀ,   c = Cᵀ(a · u),   s_i = cos(V_i, q),   q = pooled words
        V' = relu(W [V; s w; q; c])

    Args:
        width: of frames and words.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool = Linear(width, 1)
        self.lift = Embedding(1, width, std=1.0)
        self.shared = Embedding(1, width, std=1.0)
        self.scale = nn.Linear(1, 1, bias=False)
        self.out = Linear(4 * width, width, bias=True)

    def forward(
        self, frames: Float[Tensor, "B T W"], words: Float[Tensor, "B L W"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "B T W"]:
        hidden = ~mask[..., None]
        correspondence = (words @ frames.mT).masked_fill(hidden, -torch.inf).softmax(1)
        shared = self.scale(self.shared.weight.new_ones(1, 1)) * self.shared.weight
        spoken = correspondence.mT @ shared.expand(*words.shape[:2], -1)
        query = (self.pool(words).masked_fill(hidden, -torch.inf).softmax(1) * words).sum(1, keepdim=True)
        near = F.cosine_similarity(frames, query, dim=-1)[..., None] * self.lift.weight
        return F.relu(self.out(torch.cat([frames, near, query.expand_as(frames), spoken], -1)))


class QueryClipEncoder(nn.Module):
    """Frames read words, words read frames, frames read those words; then frames and a global token read each other.

    Args:
        width: of frames and words; a multiple of 4.
        depth: blocks of the second part.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first, self.back, self.second = (CrossAttentionBlock(width) for _ in range(3))
        self.whole = Embedding(1, width, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, 4, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        frames: Float[Tensor, "B T W"],
        words: Float[Tensor, "B L W"],
        inside: Bool[Tensor, "B T"],
        mask: Bool[Tensor, "B L"],
    ) -> tuple[Float[Tensor, "B W"], Float[Tensor, "B T W"]]:
        """Return the global token and the frames."""
        frames = frames + positions_of(frames)
        first = self.first(frames, words, mask)
        words = self.back(words, frames, inside)
        x = self.second(first, words, mask)
        x = torch.cat([self.whole.weight.to(x).expand(len(x), -1, -1), x], 1)
        seen = F.pad(inside, (1, 0), value=True)
        for block in self.blocks:
            x = block(x, mask=seen)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]


class MomentDecoder(nn.Module):
    """Learned spans, refined by what they read of frames, layer by layer; no gradient flows from layer to layer there.

    Args:
        width: of frames; a multiple of 4.
        depth: layers.
        queries: spans of a clip.
    """

    def __init__(self, width: int, depth: int, queries: int) -> None:
        super().__init__()
        self.width = width
        self.anchors = Embedding(queries, 2, std=1.0)
        self.position = nn.Sequential(
            Linear(2 * width, width, bias=True), nn.ReLU(), Linear(width, width, bias=True)
        )
        self.own = nn.ModuleList(TransformerBlock(width, 4, depth, causal=False) for _ in range(depth))
        self.across = nn.ModuleList(CrossAttentionBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.span = nn.Sequential(
            Linear(width, width, bias=True), nn.ReLU(), Linear(width, 2, std=1e-3, bias=True)
        )
        self.foreground = Linear(width, 1, bias=True)

    def forward(
        self, frames: Float[Tensor, "B T W"], inside: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B depth q 2"], Float[Tensor, "B depth q"]]:
        """Return centre and width of each span in shares of the clip, and the logit that it is one, by layer."""
        context = frames + positions_of(frames)
        anchors = self.anchors.weight.to(frames).expand(len(frames), -1, -1)
        x = torch.zeros(*anchors.shape[:2], self.width, device=frames.device, dtype=frames.dtype)
        spans, logits = [], []
        for own, across in zip(self.own, self.across, strict=True):
            x = across(own(x + self.position(waves(anchors.sigmoid(), self.width))), context, inside)
            states = self.norm(x)
            refined = anchors + self.span(states)
            spans.append(refined.sigmoid())
            logits.append(self.foreground(states)[..., 0])
            anchors = refined.detach()
        return torch.stack(spans, 1), torch.stack(logits, 1)


class SpanFeedback(nn.Module):
    """Saliency of frames by what the likeliest span shows: ``(1 + z · V_i) · W m_i``, z the last state of a GRU.

    Args:
        width: of frames.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.GRU(width, width, batch_first=True)
        self.out = Linear(width, width)

    def forward(
        self,
        frames: Float[Tensor, "B T W"],
        memory: Float[Tensor, "B T W"],
        chosen: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B T"]:
        """Return the saliency of frames.

        Args:
            frames: before they are encoded.
            memory: after.
            chosen: the frames of the span, which are read in their order; a clip without any reads zeros.
        """
        order = (~chosen).long().argsort(dim=1, stable=True)
        packed = (frames * chosen[..., None]).gather(1, order[..., None].expand_as(frames))
        # Zeros come first, so that there is a state of an empty span too.
        states, _ = self.read(F.pad(packed, (0, 0, 1, 0)))
        # The state behind the last frame of the span, and not behind the padding.
        z = states[torch.arange(len(states), device=states.device), chosen.sum(1)]
        weight = 1 + torch.einsum("bw,btw->bt", z, frames) / self.out.in_features**0.5
        return weight * self.out(memory).sum(-1) / math.sqrt(memory.shape[-1])


def positions_of(frames: Float[Tensor, "B T W"]) -> Float[Tensor, "T W"]:
    """Return fixed positions of frames."""
    return sine_cosine_positions(frames.shape[-1], (1, frames.shape[1])).to(frames)


def waves(spans: Float[Tensor, "B q 2"], width: int) -> Float[Tensor, "B q w"]:
    """Return sines and cosines of centres and widths, ``width`` numbers of each."""
    frequencies = math.pi * 2.0 ** torch.linspace(0, 6, width // 2, device=spans.device)
    angles = spans[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(2)
