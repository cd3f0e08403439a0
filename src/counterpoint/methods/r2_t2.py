"""R2-T2: the weights of experts for a request are moved towards what serves similar training rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Fraction, Natural, Positive
from ..networks.base import Towers
from ..networks.bridges import BRIDGES
from ..networks.bridges.base import Given
from ..networks.experts import forced_routings, mean_weights, recorded_routings
from ..networks.rerouting import descended, interpolated, shifted
from ..networks.speaker import replied
from ..networks.towers.chat import EXCHANGE, TOKEN
from ..networks.towers.language import trimmed
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._chosen_rows import rows_with_replies
from ._rounds import reply_starts
from ._speaking import SpeakingMethod
from .base import ONCE

Strategy = Literal["descent", "regression", "modes", "uniform", "oracle"]
_TIE = 1e-4
"""Weight of the likeness of pictures, which decides between requests of the same words."""
_AT_ONCE = 32


class R2T2(SpeakingMethod):
    """A model with experts whose weights are chosen anew for each request; nothing else of it moves.

        r = weights of the experts, one vector a mixture, the same for all tokens from the picture on
        L(r) = Σ_i K_i NLL(reply_i | request_i, picture_i, r) / Σ_i K_i,   i over the neighbours
        descent:      r ← r − lr ∇L(r), clipped at 0 and divided by its sum, from the router's r₀
        regression:   r = a Σ_i K_i r_i / Σ_i K_i + (1 − a) r₀, with the a of the lowest L(r)
        modes:        r ← pull r̄ + (1 − pull) r, r̄ the mean of the r_i nearest to r, by their likeness to r

    Neighbours are training rows with the most similar requests, among those whose reply the model gets right to the
    last token. K is the cosine of the mean word vectors of two requests, clipped at 0. Of requests with the same words
    the nearer picture comes first. A row with the request and the picture that are asked about is no neighbour. In L,
    neighbours are run with the r of the request, not with their own. r₀ is the mean of the router's weights over the
    tokens of the picture and the request, and r_i that of a row. Without a neighbour with K > 0, r stays r₀,
    and without any right row the model is as it was.

    A run takes no step: it goes on from a trained one, ``from=RUN``, with the options of that run's bridge.

    Args:
        towers: of pictures, with features of patches, and of conversations, one exchange a row.
        recipe: unused.
        strategy: one of those above; ``uniform``, equal weights; or ``oracle``, descent on the NLL of the true reply,
            which likelihoods know and written replies do not.
        k: neighbours.
        steps: of descent and of modes, and values of a beside 0; with 0 the model is as it was.
        lr: of Adam on r, annealed to a thousandth by a cosine.
        pull: of modes.
        neighbours: the nearest ones, or random ones, the control.
        memory: training rows at most that can be neighbours.
        bridge, tokens, levels, experts: of the run.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a bridge without experts, for options that do not fit it, in a run for rows that are not one
            exchange, and for several pictures of a request.
        LookupError: for a picture tower without features of patches.

    Source: Li et al., "R2-T2: Re-Routing in Test-Time for Multimodal Mixture-of-Experts" (2025), arXiv 2502.20395, from
    its text. The released script moves the experts' parameters on the neighbours' loss and does not restore them; here
    r alone moves. The paper finds a by binary search; here it is the best of evenly spaced values. How the paper keeps
    r a distribution was not checked.
    """

    family = "speaking"
    papers = ("r2-t2",)
    closed: ClassVar[bool] = True
    epoch_start_every = ONCE
    talks: Tensor
    pictures_read: Tensor
    weights: Tensor
    right: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        strategy: Strategy = "descent",
        k: Count = 5,
        steps: Natural = 10,
        lr: Positive = 0.01,
        pull: Fraction = 0.5,
        neighbours: Literal["near", "random"] = "near",
        memory: Count = 1000,
        bridge: str = "crossed",
        tokens: int | None = None,
        levels: Count | None = None,
        experts: Count = 4,
    ) -> None:
        if "experts" not in BRIDGES.get(bridge).options or experts < 2:
            raise ValueError(
                f"r2-t2: bridge={bridge},experts={experts} has no experts; take crossed,experts=4"
            )
        super().__init__(towers, bridge, tokens, "frozen", levels=levels, experts=experts)
        self.strategy, self.k, self.steps, self.lr, self.pull = strategy, k, steps, lr, pull
        self.neighbours = neighbours
        context, patches = self.language.chat.context, sum(self.speaker.bridge.level_sizes)
        parts = (len(self.mixtures), len(self.mixtures[0].experts))
        self.register_buffer("talks", torch.zeros(memory, 3, context, dtype=torch.long))
        self.register_buffer("pictures_read", torch.zeros(memory, patches, self.image_tower.width))
        self.register_buffer("weights", torch.zeros(memory, *parts))
        self.register_buffer("right", torch.zeros(memory, dtype=torch.bool))
        self.requires_grad_(False)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Remember training rows with their routing, and which replies the model gets right."""
        self.right.zero_()
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        rows = torch.randperm(len(examples.ids), generator=generator)[: len(self.right)]
        talk, patches = rows_with_replies(self, examples, rows)
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(rows)))
            given = self.given(patches[part], talk[part])
            self.talks[part], self.pictures_read[part] = talk[part], patches[part]
            self.weights[part] = self._routing(talk[part], given)
            self.right[part] = self._got_right(talk[part], given)

    @torch.no_grad()
    def _got_right(self, talk: Int[Tensor, "b 3 L"], given: Given) -> Bool[Tensor, " b"]:
        """Return whether each token of a reply, its end included, is the likeliest one."""
        states, tokens, where = self.speaker.reply_states(talk, given)
        wrong = torch.zeros(where.shape, device=talk.device)
        missed = self.language.head(states).argmax(1) != tokens
        return wrong.masked_scatter(where, missed.to(wrong)).sum(1) == 0

    @torch.no_grad()
    def _routing(self, talk: Int[Tensor, "b 3 L"], given: Given) -> Float[Tensor, "b mixtures E"]:
        """Return r₀: the mean weights over the tokens of the picture and the request."""
        read, opening = trimmed(talk), self.language.chat.opening
        with recorded_routings(self.mixtures) as routings:
            self.speaker.states(read[:, TOKEN], given)
        of_picture = read.new_ones(len(read), given.tokens.shape[1], dtype=torch.bool)
        return mean_weights(routings, torch.cat([of_picture, _request(read)[:, opening:]], 1))

    @torch.no_grad()
    def _rerouted(self, talk: Int[Tensor, "b 3 L"], given: Given) -> Float[Tensor, "b mixtures E"]:
        """Return the weights of the experts for each request."""
        start = self._routing(talk, given)
        if self.strategy == "uniform":
            return torch.full_like(start, 1 / start.shape[2])
        if self.strategy == "modes":
            known = self.weights[self.right].to(start)
            return shifted(start, known, min(self.k, len(known)), self.steps, self.pull)
        if self.strategy == "oracle":
            if bool((reply_starts(talk) == 0).any()):
                raise ValueError("strategy=oracle needs the true reply, which a request does not come with")
            return descended(
                start, self._loss(talk, given, start.new_ones(len(talk), 1)), self.steps, self.lr
            )
        index, likeness = self._nearest(talk, given)
        flat = self.talks[index].flatten(0, 1)
        patches = self.pictures_read[index].to(given.tokens).flatten(0, 1)
        loss = self._loss(flat, self.given(patches, flat), likeness)
        if self.strategy == "regression":
            means = self.weights[index].to(start) * likeness[..., None, None]
            mean = means.sum(1) / likeness.sum(1)[:, None, None].clamp_min(1e-12)
            moved = interpolated(start, mean, loss, self.steps)
        else:
            moved = descended(start, loss, self.steps, self.lr)
        return torch.where((likeness.sum(1) > 0)[:, None, None], moved, start)

    def _loss(
        self, talk: Int[Tensor, "n 3 L"], given: Given, likeness: Float[Tensor, "b k"]
    ) -> Callable[[Float[Tensor, "b mixtures E"]], Float[Tensor, " b"]]:
        """Return L as a function of the weights of the experts, of k rows one behind the other for each request."""
        k = likeness.shape[1]

        def loss(weights: Float[Tensor, "b mixtures E"]) -> Float[Tensor, " b"]:
            with forced_routings(self.mixtures, weights.repeat_interleave(k, 0)):
                log_p = self.speaker.log_p(talk, given)
            nll = -log_p.sum(1) / replied(talk).clamp_min(1)
            return (nll.view(-1, k) * likeness).sum(1) / likeness.sum(1).clamp_min(1e-12)

        return loss

    @torch.no_grad()
    def _nearest(
        self, talk: Int[Tensor, "b 3 L"], given: Given
    ) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"]]:
        """Return the rows of the memory that are neighbours of each request, and K; K is 0 for what is none."""
        known = self.right.nonzero()[:, 0]
        talks, pictures = self.talks[known], self.pictures_read[known].mean(1)
        assert given.summary is not None
        asked, shown = given.summary.to(pictures), self._said(talk) @ self._said(talks).mT
        near = F.normalize(asked, dim=1) @ F.normalize(pictures, dim=1).mT
        ranks = shown + _TIE * near
        if self.neighbours == "random":
            drawn = [
                _drawn(words, picture, len(known)) for words, picture in zip(_words(talk), asked, strict=True)
            ]
            ranks = torch.stack(drawn).to(ranks)
        same = (_words(talk)[:, None] == _words(talks)[None]).all(2)
        same &= (asked[:, None] - pictures[None]).abs().amax(2) < 1e-4
        index = ranks.masked_fill(same, -torch.inf).topk(min(self.k, len(known)), 1).indices
        likeness = shown.clamp_min(0).masked_fill(same, 0).gather(1, index)
        return known[index], likeness

    def _said(self, talk: Int[Tensor, "b 3 L"]) -> Float[Tensor, "b W"]:
        """Return the mean word vector of each request, of length 1."""
        inside = _request(talk).clone()
        inside[:, : self.language.chat.opening] = False
        vectors = self.language.embed(talk[:, TOKEN]) * inside[..., None]
        return F.normalize(vectors.sum(1) / inside.sum(1, keepdim=True).clamp_min(1), dim=1)

    def _under(self, weights: Float[Tensor, "b mixtures E"] | None) -> AbstractContextManager[None]:
        return nullcontext() if weights is None else forced_routings(self.mixtures, weights)

    @property
    def _moves(self) -> bool:
        return bool(self.right.any()) and (self.steps > 0 or self.strategy == "uniform")

    def given(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Given:
        if patches.shape[1] != self.pictures_read.shape[1]:
            raise ValueError("r2-t2 reads one picture of a request, and this one has several")
        return replace(super().given(patches, talk), summary=patches.mean(1))

    def shown(self, patches: Float[Tensor, "b n w"], talk: Int[Tensor, "b 3 L"]) -> Float[Tensor, "b m v"]:
        # The weights stand behind the patches, in as many rows as they fill.
        if not (patches.shape[1] and self._moves):
            return patches
        with torch.inference_mode(False):  # an evaluation may be in inference mode
            weights = self._rerouted(talk, self.given(patches, talk)).flatten(1)
        padded = F.pad(weights, (0, -weights.shape[1] % patches.shape[2]))
        return torch.cat([patches, padded.reshape(len(patches), -1, patches.shape[2]).to(patches)], 1)

    def next_logits(
        self,
        tokens: Int[Tensor, "b L"],
        shown: Float[Tensor, "b m v"],
        at: Sequence[int] = (),
        hidden: bool | Bool[Tensor, "b k"] = False,
    ) -> Float[Tensor, "b V"]:
        if at:  # of several pictures, which `shown` refuses where weights move
            return super().next_logits(tokens, shown, at, hidden)
        patches, rest = shown.tensor_split([self.pictures_read.shape[1]], 1)
        parts = self.weights.shape[1:]
        weights = rest.flatten(1)[:, : parts.numel()].view(-1, *parts) if rest.shape[1] else None
        with self._under(weights):
            return super().next_logits(tokens, patches, at, hidden)

    def _likelihoods(self, talk: Int[Tensor, "b 3 L"], given: Given | None) -> Float[Tensor, "b L"]:
        with torch.inference_mode(False):
            weights = self._rerouted(talk, given) if given is not None and self._moves else None
        with self._under(weights):
            return super()._likelihoods(talk, given)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}

    def numbers(self) -> dict[str, float]:
        # With 0, nothing is a neighbour, and the model replies as it did.
        return {"remembered": float(self.right.sum())}

    def passes(self) -> dict[str, float]:
        return {self.tower(column).modality: 0.0 for column in self.columns}

    def passes_of_all(self) -> dict[str, float]:
        # The memory does not grow with the rows beyond its size.
        return {self.image_tower.modality: 1.0}


def _request(talk: Int[Tensor, "b 3 L"]) -> Bool[Tensor, "b L"]:
    """Return which tokens stand in front of the last reply."""
    starts = reply_starts(talk)
    before = torch.arange(talk.shape[2], device=talk.device) < starts[:, None]
    return (talk[:, EXCHANGE] > 0) & (before | (starts == 0)[:, None])


def _words(talk: Int[Tensor, "b 3 L"]) -> Int[Tensor, "b L"]:
    """Return the tokens of each request, and −1 elsewhere."""
    return torch.where(_request(talk), talk[:, TOKEN], -1)


def _drawn(words: Int[Tensor, " L"], picture: Float[Tensor, " w"], count: int) -> Float[Tensor, " {count}"]:
    """Return numbers that follow from a request and its picture alone."""
    parts = torch.cat([words, (100 * picture).round().to(words)])
    return torch.rand(
        count, generator=torch.Generator().manual_seed(zlib.crc32(parts.cpu().numpy().tobytes()))
    )
