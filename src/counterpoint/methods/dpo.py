"""Direct preference optimisation of replies about pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import NonNegative
from ..losses import DPOLoss
from ..networks.base import Towers
from ..networks.speaker import replied
from ..networks.state.item_state import ItemState
from ..networks.towers.chat import TOKEN
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from ._speaking import SpeakingMethod, TuneImage
from .base import ONCE, Ranges
from .needs import Needs

_UNREAD = -1.0  # no digest
_DIGESTS = 1_000_003  # exact in float32


class DPO(SpeakingMethod):
    """A model learns to prefer the good reply to a request over a worse one.

        L = − mean log σ(β (log π(y⁺) − log ρ(y⁺) − log π(y⁻) + log ρ(y⁻))) + sft · NLL(y⁺)

    See `counterpoint.losses.DPOLoss`. The reference ρ is the model as the run begins. Its log-likelihoods are computed
    once, before the first step, and stored for each row, so that no second model is held. Both replies are read behind
    the same clean picture. Worse replies are a further column of conversations with the same requests
    (``dpo,worse=COLUMN``). Further columns of pictures may be named (``dpo,columns=image+talk+worse+second``). A pair
    of equal replies is left out, and so is a pair whose context leaves nothing of a reply. A recipe should leave
    pictures unchanged (``augmentation.paired: plain``), as the reference reads them so.

    Args:
        towers: of pictures, with features of patches, and of conversations, twice or more.
        recipe: unused: the bridge is as wide as the towers.
        beta: β.
        sft: weight of the mean negative log-likelihood of the good reply's tokens.
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, and in a run for rows with several exchanges.
        LookupError: for a picture tower without features of patches.

    Source: Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model" (2023),
    arXiv 2305.18290; on pictures: Pi et al., "Strengthening Multimodal Large Language Model with Bootstrapped
    Preference Optimization" (2024), arXiv 2403.08730.
    """

    family = "speaking"
    papers = ("bpo",)
    needs: ClassVar[Needs] = Needs(3, None, modalities=("image", "talk", "talk"), also="talk+image")
    tunable: ClassVar[Ranges] = {"beta": (0.01, 1.0)}
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        beta: NonNegative = 0.1,
        sft: NonNegative = 0.0,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        super().__init__(towers, bridge, tokens, tune_image)
        further = {column: tower.modality for column, tower in list(towers.items())[2:]}
        self.worse = [column for column, modality in further.items() if modality == "talk"]
        self.pictures = (self.picture, *(column for column in further if column not in self.worse))
        self.sft = sft
        self.objective = DPOLoss(beta)
        self.items = ItemState(reference=[0.0] * len(self.replies), digest=[_UNREAD] * len(self.replies))
        self._numbers: Mapping[str, float] = {}

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Compute the log-likelihoods of all pairs under the reference."""

        def read(batch: Batch) -> Float[Tensor, "B n"]:
            policy = self._policy(self.encode(batch))
            return torch.cat([policy, self._digests(batch).to(policy.dtype)], 1)

        device = self.items.ids.device
        policy, digests = examples.map(read).to(device).chunk(2, 1)
        self.items.store(examples.ids.to(device), reference=policy, digest=digests)

    def encode(self, batch: Batch) -> Embeddings:
        speaker = self.speaker
        patches = self._patches_of(batch)
        given = speaker.given(patches)
        log_p = {column: speaker.log_p(batch[column], given) for column in self.replies}
        return {**self._means(patches), **log_p}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        reference, digests = self.items.recall(batch.ids)
        # Of a row that was not read before the first step, both replies are as likely under the reference.
        known = (digests != _UNREAD).any(1)
        if bool((digests != self._digests(batch))[known].any()):
            raise ValueError(
                "dpo compares one exchange a row, and a row has several: take one exchange of each row, as "
                "counterpoint data replies does"
            )
        policy, used = pairs(self._policy(z)), self._compared(batch)
        reference = pairs(reference).to(policy.dtype)
        terms = {"dpo": self.objective(policy, reference, used.to(policy.dtype))}
        if self.sft:
            terms["sft"] = self.sft * self.mean_over_tokens(z[self.talk], batch[self.talk])
        with torch.no_grad():
            good, worse = self.objective.rewards(policy, reference)[used].unbind(1)
        self._numbers = {"left_out": float((~used).sum())}
        if len(good):
            self._numbers = {
                **self._numbers,
                "good_reward": float(good.mean()),
                "worse_reward": float(worse.mean()),
                "margin": float((good - worse).mean()),
                "in_order": float((good > worse).to(good.dtype).mean()),
                "good_log_p": float(policy[used, 0].detach().mean()),
            }
        return terms

    def numbers(self) -> dict[str, float]:
        return dict(self._numbers)

    def passes_of_all(self) -> dict[str, float]:
        return self.passes()

    @property
    def replies(self) -> tuple[str, ...]:
        """The columns of replies, the good one first."""
        return (self.talk, *self.worse)

    def _policy(self, z: Embeddings) -> Float[Tensor, "B k"]:
        return torch.stack([z[column].sum(1) for column in self.replies], 1)

    def _digests(self, batch: Batch) -> Int[Tensor, "B k"]:
        """Return a number of each conversation that tells it from others of its row."""
        tokens = torch.stack([batch[column][:, TOKEN] for column in self.replies], 1)
        return (tokens * torch.arange(1, tokens.shape[2] + 1, device=tokens.device)).sum(2) % _DIGESTS

    def _compared(self, batch: Batch) -> Bool[Tensor, " n"]:
        """Return which pairs have two replies that differ."""
        good = batch[self.talk]
        differ = [
            (good != worse).flatten(1).any(1) & (replied(good) > 0) & (replied(worse) > 0)
            for worse in (batch[column] for column in self.worse)
        ]
        return torch.stack(differ, 1).flatten()


def pairs(of_replies: Float[Tensor, "B k"]) -> Float[Tensor, "n 2"]:
    """Return the numbers of each pair of the first reply and a further one, row by row.

    >>> pairs(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[1.0, 2.0], [1.0, 3.0]]
    """
    good, worse = of_replies[:, :1], of_replies[:, 1:]
    return torch.stack([good.expand_as(worse), worse], 2).flatten(0, 1)
