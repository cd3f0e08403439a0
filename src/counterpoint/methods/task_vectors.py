"""Multimodal task vectors: what attention heads say behind many examples, put into requests without any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..networks.attention_heads import AttentionHeads
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN
from ..networks.towers.language import trimmed
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Prompt, StepInfo, TrainingExamples
from ._chosen_rows import rows_with_replies
from ._head_search import masks_of, policy_loss
from ._rounds import reply_starts
from ._speaking import SpeakingMethod
from .base import ONCE

Heads = Literal["learned", "random", "all", "none"]


class TaskVectors(SpeakingMethod):
    """A model that replies without examples as if many stood in front: some attention heads say what they said there.

        μ_lh = mean over prompts of the output of head h of layer l, at the last token behind k examples
        m_lh ~ Bernoulli(σ(θ_lh)),   R = (L(m) − mean) / (std + 1e-3),   θ ← Adam on Σ_m log P(m) R

    The output of a head is its slice of the input of the output projection. L(m) is the cross-entropy of the reply of a
    training row without examples, in which the heads of m say μ at the last token of the request. R is a normalised
    loss, so that the minimum makes heads unlikely whose masks have a high loss. All masks of a step are one batch
    behind one shared cache of the request. Of some masks that are drawn at the end, the one with the lowest loss on
    training rows is taken. While the model writes, the heads say μ at every new token.

    With ``most``, masks are drawn from the same distribution under the condition that they have no more heads. Its
    normaliser adds nothing to the gradient, since the sum of R is 0.

    Nothing of the model moves, and a run takes no step: it goes on from a trained one, ``from=RUN``.

    Args:
        towers: of pictures, with features of patches, and of conversations, one exchange a row.
        recipe: unused.
        examples: k.
        prompts: that the mean is taken over.
        pictures: whether examples have their pictures.
        held: training rows that the search asks about; none of them is an example or a request of the mean.
        steps: of the search.
        masks: of a step.
        lr: of θ.
        start: θ before the search; σ(−1) is a quarter of all heads.
        most: heads of a mask at most; any number unless given.
        drawn: masks at the end.
        judged: rows of ``held`` at most that judge these.
        answer: the tokens of L: the first of the reply, or the mean over all.
        heads: the learned ones; as many random ones, the control; all; or none, which is the model as it was.
        bridge, tokens, image_tiles: of the run.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for a bridge that changes layers, and in a run
            for too few rows, for rows without one exchange, and for examples that the context does not hold.
        LookupError: for a picture tower without features of patches, and a language model without attention heads.

    Source: Huang et al., "Multimodal Task Vectors Enable Many-Shot Multimodal In-Context Learning" (2024), arXiv
    2406.15334, and its code, Brandon3964/MultiModal-Task-Vector. The code overwrites the last row of a batch alone, and
    selects nothing on evaluation rows, which it shows during the search; here every row is overwritten and the search
    reads training rows alone.
    """

    family = "speaking"
    papers = ("multimodal-task-vectors",)
    closed: ClassVar[bool] = True
    epoch_start_every = ONCE
    values: Tensor
    chosen: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        examples: Count = 4,
        prompts: Count = 100,
        pictures: bool = True,
        held: Count = 100,
        steps: Count = 600,
        masks: Count = 32,
        lr: Positive = 0.1,
        start: float = -1.0,
        most: Count | None = None,
        drawn: Count = 10,
        judged: Count = 50,
        answer: Literal["first", "all"] = "first",
        heads: Heads = "learned",
        bridge: str = "linear",
        tokens: int | None = None,
        image_tiles: Count = 1,
    ) -> None:
        super().__init__(towers, bridge, tokens, "frozen", image_tiles)
        if self.speaker.bridge.deepest >= 0:
            raise ValueError(
                f"bridge={bridge} changes layers of the language model, which task-vectors does not do"
            )
        self.examples, self.prompts, self.show = examples, prompts, pictures
        self.held, self.steps, self.masks, self.lr, self.start = held, steps, masks, lr, start
        self.drawn, self.judged, self.answer, self.heads_of = drawn, judged, answer, heads
        self.attention_heads = AttentionHeads(self.language)
        shape = (self.attention_heads.layers, self.attention_heads.count)
        self.most = shape[0] * shape[1] if most is None else most
        self.register_buffer("values", torch.zeros(*shape, self.attention_heads.width))
        self.register_buffer("chosen", torch.zeros(shape, dtype=torch.bool))
        self._length = 1
        self.requires_grad_(False)

    def check_start(self, rows: int) -> None:
        if rows <= self.held + self.examples:
            raise ValueError(
                f"task-vectors: {rows} rows without held={self.held} are no request with examples={self.examples}: "
                "give more rows, or make held smaller"
            )

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Measure the means, and search for heads."""
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 31, ())))
        self.chosen.zero_()
        shape, layers_heads = self.chosen.shape, self.chosen.numel()
        if self.heads_of == "none":
            return
        count = len(examples.ids)
        most = self.held + self.prompts * (self.examples + 1)
        rows = torch.randperm(count, generator=generator)[:most]
        talk, patches = rows_with_replies(self, examples, rows)
        self.values.copy_(self._mean_outputs(talk[self.held :], patches[self.held :], generator))
        if self.heads_of == "all":
            self.chosen.fill_(True)
            return
        mask = self._searched(talk[: self.held], patches[: self.held], generator)
        if self.heads_of == "random":
            mask = mask.flatten()[torch.randperm(layers_heads, generator=generator)].view(shape)
        self.chosen.copy_(mask)

    @torch.no_grad()
    def _mean_outputs(
        self, talk: Int[Tensor, "n 3 L"], patches: Float[Tensor, "n p w"], generator: torch.Generator
    ) -> Float[Tensor, "layers H d"]:
        """Return the mean output of each head at the last token of requests behind examples."""
        chat, total = self.language.chat, torch.zeros_like(self.values)
        for _ in range(self.prompts):
            order = torch.randperm(len(talk), generator=generator)[: self.examples + 1]
            joined = chat.join([*talk[order]])
            joined = joined[:, : int(reply_starts(joined[None])[0])]
            if joined.shape[1] > chat.context:
                raise ValueError(
                    f"examples={self.examples} and a request are {joined.shape[1]} tokens, and the language model "
                    f"reads {chat.context}: take fewer examples"
                )
            at: tuple[int, ...] = ()
            shown = patches[order[-1:]]
            if self.show:
                begins = [int((joined[EXCHANGE] == n).int().argmax()) for n in range(1, len(order) + 1)]
                at = tuple(begin + (chat.turn_opening if begin else chat.opening) for begin in begins)
                shown = patches[order].flatten(0, 1)[None]
            with self.attention_heads.recorded() as outputs:
                super().next_logits(joined[None, TOKEN], self.shown(shown, joined[None]), at)
            total += torch.stack([output[0, -1] for output in outputs])
        return total / self.prompts

    def _searched(
        self, talk: Int[Tensor, "n 3 L"], patches: Float[Tensor, "n p w"], generator: torch.Generator
    ) -> Bool[Tensor, "layers H"]:
        """Return the heads that REINFORCE chooses."""
        theta = torch.full(self.chosen.shape, self.start, requires_grad=True)
        optimizer = torch.optim.Adam([theta], lr=self.lr)
        for _ in range(self.steps):
            row = int(torch.randint(len(talk), (), generator=generator))
            masks = masks_of(theta.detach(), self.masks, self.most, generator)
            losses = self._losses_of(talk[row], patches[row], masks)
            with torch.enable_grad():
                (theta.grad,) = torch.autograd.grad(policy_loss(theta, masks, losses), theta)
            optimizer.step()
        masks = masks_of(theta.detach(), self.drawn, self.most, generator)
        rows = range(min(self.judged, len(talk)))
        total = torch.stack([self._losses_of(talk[row], patches[row], masks) for row in rows]).sum(0)
        return masks[int(total.argmin())]

    @torch.no_grad()
    def _losses_of(
        self, talk: Int[Tensor, "3 L"], patches: Float[Tensor, "p w"], masks: Bool[Tensor, "m layers H"]
    ) -> Float[Tensor, " m"]:
        """Return the loss of a row's reply under each mask, all as one batch behind one cache of the request."""
        start = int(reply_starts(talk[None])[0])
        stop = start + (1 if self.answer == "first" else int(talk[REPLY].sum()))
        given = self.given(patches[None], talk[None])
        whole = self.speaker.embedded(talk[None, TOKEN, : stop - 1], given)
        where = torch.zeros(len(masks), stop - start, dtype=torch.bool)
        where[:, 0] = True  # the last token of the request
        around = self.attention_heads.replaced(self.values, masks, where)
        states = self.language.last_states(whole, stop - start, len(masks), around)
        logits = upcast(self.language.head(states))
        targets = talk[TOKEN, start:stop].expand(len(masks), -1)
        return F.cross_entropy(logits.mT, targets, reduction="none").mean(1).cpu()

    def next_logits(
        self,
        tokens: Int[Tensor, "b L"],
        shown: Float[Tensor, "b m v"],
        at: Sequence[int] = (),
        hidden: bool | Bool[Tensor, "b k"] = False,
    ) -> Float[Tensor, "b V"]:
        new = tokens.shape[1] - self._length + 1  # the last token of the request, and those behind it
        with self.attention_heads.replaced(self.values, self.chosen, new):
            return super().next_logits(tokens, shown, at, hidden)

    def _prompted(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str] | None = None
    ) -> Iterator[tuple[list[int], Int[Tensor, "b L"], Float[Tensor, "b n w"], tuple[int, ...]]]:
        for index, tokens, patches, at in super()._prompted(prompts, beginnings):
            self._length = tokens.shape[1]
            yield index, tokens, patches, at

    def _likelihoods(self, talk: Int[Tensor, "b 3 L"], given: Given | None) -> Float[Tensor, "b L"]:
        spoken = F.pad(trimmed(talk)[:, REPLY, 1:] > 0, (0, 1))
        opening = self.language.chat.opening
        count = 0 if given is None else given.tokens.shape[1]
        of_picture = spoken.new_zeros(len(spoken), count)
        where = torch.cat([spoken[:, :opening], of_picture, spoken[:, opening:]], 1)
        with self.attention_heads.replaced(self.values, self.chosen, where):
            return super()._likelihoods(talk, given)

    def encode(self, batch: Batch) -> Embeddings:
        patches, talk = self.speaker.patches(batch[self.picture]), batch[self.talk]
        return {self.picture: patches.mean(1), self.talk: self._likelihoods(talk, self.given(patches, talk))}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}

    def passes(self) -> dict[str, float]:
        return {self.tower(column).modality: 0.0 for column in self.columns}

    def passes_of_all(self) -> dict[str, float]:
        # Those of the search do not grow with the rows.
        return {self.image_tower.modality: 1.0}
