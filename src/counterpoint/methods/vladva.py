"""VladVA: a language model that reads pictures embeds both by a soft prompt, and writes long captions behind it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN, Chat
from ..networks.towers.embedder import TextEmbedder, prompt
from ..networks.towers.language import LanguageTower, trimmed
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._speaking import SpeakingMethod, TuneImage
from .base import Ranges
from .needs import Needs

IMAGE_PROMPT = "Summarize the provided image in one word:"
"""The prompt that the soft prompt of pictures starts from."""
TEXT_PROMPT = "Summarize the provided text in one word:"
"""The prompt that the soft prompt of texts starts from."""
_LONGEST = 256


class _SoftPrompt(nn.Module):
    """Vectors in the place of the tokens of a prompt, from which they start.

    Args:
        language: gives the vectors of the tokens.
        text: the prompt.
    """

    start: Tensor

    def __init__(self, language: LanguageTower, text: str) -> None:
        super().__init__()
        chat = Chat(
            language.chat.tokenizer, _LONGEST, language.chat.image
        )  # the context of conversations may be shorter than a prompt
        talk = chat([prompt("", text)])
        tokens = talk[:, TOKEN, chat.opening : int((talk[:, EXCHANGE] > 0).sum())]
        self.register_buffer("start", language.embed(tokens)[0].detach(), persistent=False)
        self.vectors = nn.Parameter(self.start.clone())

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.vectors.copy_(self.start)


class VladVA(SpeakingMethod):
    """Contrast between pictures and short captions, and the likelihood of long ones, on one language model.

        f = nz(h(opening, picture, P_image)),   g = nz(h(opening, text, P_text))
        L = InfoNCE(f, g) + λ (−Σ_t log p(w_t | opening, picture, P_image, w_<t) / number of tokens)

    h is the state at the last vector of a soft prompt P; there is no head behind it. Each P starts from the vectors of
    a written prompt, with what the chat template has behind a request. Short captions are the column ``text``, long
    ones the replies of ``talk``. Contrast and likelihood take two passes of the language model, and the tower of
    pictures one. Requests are not read, and likelihoods of replies are those behind P_image.

    The paper trains soft prompts and low-rank updates alone: ``from=RUN,tune=lora``, with a run of ``sft``. Of a
    pretrained model the bridge and the tower of pictures do not move.

    Args:
        towers: of pictures, with features of patches, and of conversations; that of texts is not used.
        recipe: unused: an embedding is as wide as the language model.
        writing: λ. With 0 no caption is written.
        through: ``"all"``, a caption's token sees the picture and P; ``"summary"``, the last vector of P alone.
        temperature: where τ starts; learned within [0.01, 1].
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, and for a bridge that changes layers.
        LookupError: for a picture tower without features of patches.

    Source: Ouali et al., "Discriminative Fine-tuning of LVLMs" (2024), arXiv 2412.04378, from memory: the number of
    vectors, the rank and the temperature are not confirmed.
    """

    family = "speaking"
    papers = ("vladva",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "talk", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        writing: NonNegative = 1.0,
        through: Literal["all", "summary"] = "all",
        temperature: Positive = 0.07,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        self.needs.check(type(self).__name__, {column: tower.modality for column, tower in towers.items()})
        _, talk, self.text = towers
        language = towers[talk]
        if isinstance(language, LanguageTower):
            towers = {**towers, self.text: TextEmbedder(language, language)}
        super().__init__(towers, bridge, tokens, tune_image)
        if self.speaker.bridge.deepest >= 0:
            raise ValueError(
                f"bridge={bridge} changes layers of the language model, which vladva reads by tokens alone"
            )
        if self.image_tower.pretrained:
            self.bridge_projections.requires_grad_(False)
        self.writing, self.through = writing, through
        self.soft_prompts = nn.ModuleDict(
            {
                self.picture: _SoftPrompt(self.language, IMAGE_PROMPT),
                self.text: _SoftPrompt(self.language, TEXT_PROMPT),
            }
        )
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    @property
    def shares_space(self) -> bool:
        return True

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.text:
            return self._of_texts(inputs)
        if column == self.picture:
            return self._of_pictures(self.speaker.given(self.speaker.patches(inputs)))
        return super().features(column, inputs)

    def encode(self, batch: Batch) -> Embeddings:
        given = self.speaker.given(self.speaker.patches(batch[self.picture]))
        z = {self.picture: self._of_pictures(given), self.text: self._of_texts(batch[self.text])}
        if self.writing:
            z[self.talk] = self._likelihoods(batch[self.talk], given)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        f, g = (F.normalize(upcast(z[column]), dim=-1) for column in (self.picture, self.text))
        losses = {"contrast": self.objective(f, g)}
        if self.writing:
            losses["nll"] = self.writing * self.mean_over_tokens(z[self.talk], batch[self.talk])
        return losses

    def _seen(self, given: Given | None, count: int) -> Float[Tensor, "B p W"]:
        """Return the vectors of the opening, of the pictures, if there are any, and of their soft prompt."""
        soft = self._soft(self.picture).expand(count, -1, -1)
        pictures = [] if given is None else [given.tokens.to(soft.dtype)]
        return torch.cat([self.language.embed(self._opening.expand(count, -1)), *pictures, soft], 1)

    def _soft(self, column: str) -> Tensor:
        made = self.soft_prompts[column]
        assert isinstance(made, _SoftPrompt)
        return made.vectors

    @property
    def _opening(self) -> Int[Tensor, "1 o"]:
        chat = self.language.chat
        return chat([prompt("")])[:, TOKEN, : chat.opening].to(self._device)

    def _of_pictures(self, given: Given) -> Float[Tensor, "B W"]:
        return self.language.token_states(self._seen(given, len(given.tokens)))[:, -1]

    def _of_texts(self, talk: Int[Tensor, "B 3 L"]) -> Float[Tensor, "B W"]:
        """Return the state at the last vector of the soft prompt, which follows the tokens of each text."""
        language, soft, talk = self.language, self._soft(self.text), trimmed(talk)
        # What the template has behind a request gives way to the soft prompt.
        behind = int((language.chat([prompt("")])[0, EXCHANGE] > 0).sum()) - language.chat.opening
        begins = (talk[:, EXCHANGE] > 0).sum(1, keepdim=True) - behind
        embedded = F.pad(language.embed(talk[:, TOKEN]), (0, 0, 0, len(soft)))
        positions = begins + torch.arange(len(soft), device=talk.device)
        embedded = embedded.scatter(
            1,
            positions[..., None].expand(-1, -1, soft.shape[1]),
            soft.to(embedded.dtype).expand(len(talk), -1, -1),
        )
        rows = torch.arange(len(talk), device=talk.device)
        return language.token_states(embedded)[rows, positions[:, -1]]

    def _likelihoods(self, talk: Int[Tensor, "b 3 L"], given: Given | None) -> Float[Tensor, "b L"]:
        """Return the log-probability of each token of the replies behind the soft prompt; 0 for all other tokens."""
        spoken = talk[:, REPLY] > 0
        # Replies alone, each from the first place on; padding comes behind them.
        order = (~spoken).long().argsort(dim=1, stable=True)[:, : max(int(spoken.sum(1).max()), 1)]
        replies, valid = talk[:, TOKEN].gather(1, order), spoken.gather(1, order)
        seen = self._seen(given, len(talk))
        length, count = seen.shape[1], replies.shape[1]
        whole, mask = torch.cat([seen, self.language.embed(replies[:, :-1])], 1), None
        if self.through == "summary":
            mask = torch.ones(whole.shape[1], whole.shape[1], dtype=torch.bool, device=whole.device).tril()
            mask[length:, : length - 1] = False
            mask = mask.expand(len(whole), -1, -1)
        states = self.language.token_states(whole, mask=mask)[:, length - 1 :]
        likely = self.language.log_p(states[valid], replies[valid])
        log_p = likely.new_zeros(len(talk), count).masked_scatter(valid, likely)
        return likely.new_zeros(spoken.shape).scatter(1, order, log_p)
