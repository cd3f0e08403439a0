"""Step-on-feet tuning: a model learns to reply without examples as it replies with them, part by part of the data."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Positive
from ..networks.base import Towers
from ..networks.state.item_state import ItemState
from ..networks.towers.chat import EXCHANGE, REPLY
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples
from ._rounds import conversations_of, distinct, reply_starts, sampled_replies
from ._speaking import SpeakingMethod, TuneImage
from .base import ONCE

_UNUSED = -1.0  # of rows that are examples, or whose reply is empty


class StepOnFeet(SpeakingMethod):
    """In each round the model replies to new requests behind examples, and is trained on these replies without them.

        L = NLL(y | x),   y ~ M_{t−1}(· | k examples, x),   x in part t of the rows

    The first ``pool`` rows are examples, with their own replies. All other rows are divided into ``rounds`` disjoint
    parts, and their own replies are not read. Each part is a stage of the run. At its start the model as it is replies
    to the requests of the part, and the steps of the stage are about these rows alone. The k examples are drawn anew
    for every request, and stand in front of it as earlier turns without pictures. Empty replies are left out.

    With ``rounds=1`` it is self-alignment in a single round.

    Args:
        towers: of pictures, with features of patches, and of conversations, one exchange a row.
        recipe: gives the batch size, which a part of the rows must fill.
        rounds: T.
        shown: k.
        pool: examples among which k are drawn.
        fixed: every request comes behind the same k examples. The control: late rounds collapse sooner.
        easy: the parts go from easy rows to hard ones (SOFT+), by the mean negative log-likelihood of a reply of the
            first model behind its examples. Else they are drawn.
        temperature: of the sampling.
        length: tokens after which a reply is cut off.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for more examples than the pool has, and in a
            run for too few rows and for rows with several exchanges.
        LookupError: for a picture tower without features of patches.

    Source: Wang et al., "Step-On-Feet Tuning: Scaling Self-Alignment of LLMs via Bootstrapping" (2024), arXiv
    2402.07610; described from memory. The paper stops early by a validation set; here the number of rounds is fixed,
    and a study of several numbers shows where it falls.
    """

    family = "speaking"
    papers = ("step-on-feet-tuning",)
    epoch_start_every = ONCE
    regroups = True
    round: Tensor
    collapse: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        rounds: Count = 3,
        shown: Count = 4,
        pool: Count = 64,
        fixed: bool = False,
        easy: bool = False,
        temperature: Positive = 1.0,
        length: Count = 64,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        if shown > pool:
            raise ValueError(f"shown={shown} examples are drawn from a pool={pool}: make the pool larger")
        self.rounds, self.examples, self.pool, self.fixed, self.easy = rounds, shown, pool, fixed, easy
        self.temperature, self.length, self.batch_size = temperature, length, recipe.batch_size
        self.stages = tuple(Stage(f"round {number}", 1) for number in range(1, rounds + 1))
        self.items = ItemState(reply=[0.0] * self.language.chat.context, part=_UNUSED)
        self.register_buffer("round", torch.tensor(0.0))
        self.register_buffer("collapse", torch.zeros(2))

    def check_start(self, rows: int) -> None:
        if (rows - self.pool) // self.rounds < self.batch_size:
            raise ValueError(
                f"step-on-feet: {rows} rows without a pool={self.pool} of examples make {self.rounds} parts of less "
                f"than a batch of {self.batch_size}: take fewer rounds, a smaller pool or a smaller batch"
            )

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Reply to the requests of the next part behind examples."""
        number = next((n for n, stage in enumerate(self.stages) if stage.name == clock.stage), 0)
        seed = int(torch.randint(1 << 31, ()))  # the same on every rank
        talk = examples.map(lambda batch: batch[self.talk].float()).long()
        if bool((talk[:, EXCHANGE] > 1).any()):
            raise ValueError("step-on-feet replies to one exchange a row, and a row has several")
        shown = talk[: self.pool]
        device = self.items.ids.device
        if number == 0:
            part = self._parts(examples, shown, seed).to(device)
            self.items.store(examples.ids.to(device), part=part)
        made = examples.map(lambda batch: self._replies(batch, shown, seed, number)[:, 1:]).to(device)
        replies, part = self.items.recall(examples.ids.to(device))
        now = part == number
        texts = {int(row): self._text(made[row]) for row in now.nonzero()[:, 0]}
        empty = torch.zeros_like(now)
        empty[[row for row, text in texts.items() if not text]] = True
        self.items.store(
            examples.ids.to(device),
            reply=torch.where(now[:, None], made, replies),
            part=torch.where(empty, _UNUSED, part),
        )
        self.round.fill_(number)
        said = list(filter(None, texts.values()))
        commonest = max(Counter(said).values(), default=0) / max(len(said), 1)
        self.collapse.copy_(torch.tensor([distinct(said), commonest]))

    def groups(self, ids: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
        """Return 0 for the rows of the part of this round, −1 for all others, which are in no batch."""
        if len(self.items.ids) == 1:  # before the first round
            return None
        _, part = self.items.recall(ids.to(self.items.ids.device))
        return torch.where(part == self.round, 0, -1).cpu()

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Put the sampled replies in the place of those of the data."""
        replies, _ = self.items.recall(batch.ids)
        sampled = conversations_of(replies, self.language.chat.padding)
        # A row that was in no round has the reply of the data.
        read = torch.where((replies != 0).any(1)[:, None, None], sampled, batch[self.talk])
        return replace(batch, views={**batch.views, self.talk: read})

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}

    def numbers(self) -> dict[str, float]:
        # Both tell of a collapse: replies become alike.
        distinct_words, commonest = self.collapse.tolist()
        return {"distinct_words": distinct_words, "commonest_reply": commonest}

    def passes_of_all(self) -> dict[str, float]:
        # Each token that is sampled is a pass of the examples too.
        sampled = float(self.length * (1 + self.examples))
        return {"image": float(self.rounds + self.easy), "talk": sampled * (1 + self.easy)}

    def _parts(
        self, examples: TrainingExamples, shown: Int[Tensor, "k 3 L"], seed: int
    ) -> Float[Tensor, " N"]:
        """Return the number of the part that each row is of; those of the pool are of none."""
        count = len(examples.ids) - self.pool
        order = torch.randperm(count)
        if self.easy:
            hardness = examples.map(lambda batch: self._replies(batch, shown, seed, None)[:, :1])
            order = hardness[self.pool :, 0].argsort(stable=True)
        part = torch.full((len(examples.ids),), _UNUSED)
        part[self.pool + order] = (torch.arange(count) * self.rounds // count).to(part.dtype)
        return part

    @torch.no_grad()
    def _replies(
        self, batch: Batch, shown: Int[Tensor, "k 3 L"], seed: int, number: int | None
    ) -> Float[Tensor, "B n"]:
        """Return the mean negative log-likelihood of sampled replies, and conversations with these as numbers.

        Args:
            batch: some rows.
            shown: the pool of examples.
            seed: of the sampling and of the draws of examples.
            number: the part whose rows are replied to; all rows unless given.
        """
        talk, width = batch[self.talk], batch[self.talk].shape[2]
        result = torch.zeros(len(talk), 1 + width, device=talk.device)
        _, part = self.items.recall(batch.ids.to(self.items.ids.device))
        wanted = (
            (part == number).to(talk.device)
            if number is not None
            else torch.ones_like(part, dtype=torch.bool)
        )
        starts = reply_starts(talk)
        index = (wanted & (starts > 0)).nonzero()[:, 0]
        if not len(index):
            return result
        context = [
            self._behind_examples(talk[row], shown, int(batch.ids[row]), seed) for row in index.tolist()
        ]
        longest = max(one.shape[1] for one in context)
        joined = torch.stack([F.pad(one, (0, longest - one.shape[1])) for one in context])
        patches = self.speaker.patches(batch[self.picture][index])
        written = sampled_replies(
            self.speaker,
            patches,
            joined,
            batch.ids[index],
            seed,
            temperature=self.temperature,
            length=self.length,
        )
        read = conversations_of(written, self.language.chat.padding)
        log_p = self.speaker.log_p(read, self.speaker.given(patches))
        result[index, 0] = (-log_p.sum(1) / read[:, REPLY].sum(1).clamp_min(1)).to(result.dtype)
        for row, of_row in zip(index.tolist(), written, strict=True):
            start = int(starts[row])
            reply = of_row[of_row < 0][: width - start]
            result[row, 1 : 1 + start] = (talk[row, 0, :start] + 1).to(result.dtype)
            result[row, 1 + start : 1 + start + len(reply)] = reply
        return result

    def _behind_examples(
        self, talk: Int[Tensor, "3 L"], shown: Int[Tensor, "k 3 L"], identity: int, seed: int
    ) -> Int[Tensor, "3 n"]:
        """Return a conversation behind examples of its own, with room for the reply in the place of its reply."""
        key = seed if self.fixed else (identity * 1_000_003 + seed) % (1 << 62)
        drawn = torch.randperm(len(shown), generator=torch.Generator().manual_seed(key))[: self.examples]
        joined = self.language.chat.join([*shown[drawn].to(talk.device), talk])
        # The row's own reply is not read: its first place tells where the sampled one begins.
        start = int(reply_starts(joined[None])[0])
        room = joined[:, start : start + 1].expand(-1, self.length)
        return torch.cat([joined[:, :start], room], 1)

    def _text(self, written: Float[Tensor, " L"]) -> str:
        return self.language.chat.decode(-written[written < 0].long() - 1)
