"""Methods that predict the caption of a picture token by token: likelihoods, captions and scores of pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Count, Positive, Share
from ..modalities import MODALITIES, resolve
from ..networks.base import TextTower, Tokenizer, Tower, Towers
from ..networks.towers.parts.pooling import inside
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..registry import unknown
from ..types import PairStates
from .needs import Needs
from .tower_method import TowerMethod, paired

_AT_ONCE = 256
"""Pictures whose captions are written, or pairs that are scored, at once."""


def tokenizer_alone(method: TowerMethod, tower: Tower) -> Tokenizer:
    """Return the tokenizer of a tower of texts, for a method that has a decoder in place of the tower.

    Raises:
        ValueError: for a tower with weights to start from, or without a tokenizer.
    """
    if not isinstance(tower, TextTower) or tower.pretrained:
        raise ValueError(
            f"{type(method).__name__} trains a decoder of its own and takes only the tokenizer of the tower of "
            f"texts, so the weights of {tower.name!r} would be lost: take --towers.text transformer"
        )
    return tower.tokenizer


def begins_all(tokenizer: Tokenizer) -> int:
    """Return 1 where one token begins every text of a tokenizer, else 0."""
    first = tokenizer(["a", "b"])[:, 0]
    return int(first[0] == first[1])


def mean_over_tokens(likelihood: Float[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Return the negative log-likelihood of a token, the mean over the tokens of all ranks.

    Args:
        likelihood: the sum of the log-probabilities of each text's tokens, and their number.
    """
    summed, count = likelihood[:, 0], likelihood[:, 1].detach()
    return moments.mean(-summed / count.clamp_min(1), count, ranks=Ranks.present())


class CaptioningMethod(TowerMethod):
    """A decoder beside the tower of pictures, which predicts the caption from the picture's patches.

    Of the tower of texts only the tokenizer is used, so the method has no weights of it. A token that begins every text
    of the tokenizer is left out of what is predicted: the decoder has a start token of its own.

    A pair is scored by the log-likelihood of the text given the picture (``joint``), or by that less the
    log-likelihood of the same text given a plain grey picture (``pmi``, pointwise mutual information), which texts that
    are likely by themselves gain nothing from.

    Args:
        towers: of pictures, with features of patches, and of texts.

    Raises:
        ValueError: for a tower of texts with weights to start from, or without a tokenizer.
    """

    family = "captioning"
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tokenized: ClassVar[tuple[str, ...]] = ("text",)
    pair_heads: tuple[str, ...] = ("joint", "pmi")

    def __init__(self, towers: Towers) -> None:
        super().__init__(towers)
        self.picture, self.text = towers
        self.tokenizer = tokenizer_alone(self, towers[self.text])
        self.views = paired(towers)
        self.use_input_alone(self.text)
        self.skipped = begins_all(self.tokenizer)
        self.length = self.tokenizer.context - self.skipped

    @property
    def context(self) -> int | None:
        return self.tokenizer.context

    @abstractmethod
    def patch_states(self, pictures: Tensor) -> Float[Tensor, "B P D"]:
        """Return the states of pictures ``(B, 3, H, W)``, or what stands for them, that the decoder attends to."""

    @abstractmethod
    def log_likelihood_of_tokens(
        self,
        targets: Int[Tensor, "B L"],
        mask: Bool[Tensor, "B L"],
        states: Float[Tensor, "B P W"],
    ) -> Float[Tensor, "B 2"]:
        """Return the sum of the log-probabilities of tokens given pictures, and their number."""

    @abstractmethod
    def next_logits(self, tokens: Int[Tensor, "B L"], states: Float[Tensor, "B P W"]) -> Float[Tensor, "B V"]:
        """Return the logits of the token behind some tokens, the first of which is the start token."""

    @property
    def start(self) -> int:
        """The id of the decoder's start token, the first behind the vocabulary."""
        return self.tokenizer.vocabulary

    def targets_of(self, tokens: Int[Tensor, "B M"]) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """Return the tokens that are predicted, and which of them belong to the caption."""
        targets = tokens[:, self.skipped :]
        return targets, inside(targets, self.tokenizer.end)

    def mean_over_tokens(self, likelihood: Float[Tensor, "B 2"]) -> Float[Tensor, ""]:
        """Return the negative log-likelihood of a token, the mean over the tokens of all ranks."""
        return mean_over_tokens(likelihood)

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column in self.columns and column not in self.embeds:
            raise ValueError(f"this model predicts {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)

    @torch.no_grad()
    def log_likelihood(self, pictures: Any, captions: Sequence[str]) -> Float[Tensor, "n 2"]:
        """Return the log-likelihood of captions given pictures, row by row, and the number of their tokens.

        Args:
            pictures: as for `embed`, one for each caption; None for a plain grey picture.
            captions: texts; a text longer than the context is cut.

        Raises:
            ValueError: for other than one picture for each caption.
        """
        if pictures is None:
            return self._evaluated(self._likelihood, None, self._tokens(captions))
        states = self.pair_states(self.picture, pictures)
        self._check_pairs(states, captions)
        return self._evaluated(self._likelihood, states["patches"], self._tokens(captions))

    @torch.no_grad()
    def token_log_likelihood(self, pictures: Any, captions: Sequence[str]) -> Float[Tensor, "n L"]:
        """Return the log-likelihood of each token of captions given pictures, and NaN behind the end.

        It predicts a token at a time, so that `log_likelihood` is faster where the sum is enough.

        Args:
            pictures: as for `embed`, one for each caption; None for a plain grey picture.
            captions: texts; a text longer than the context is cut.

        Raises:
            ValueError: for other than one picture for each caption.
        """
        targets, mask = self.targets_of(self._tokens(captions).to(self._device))
        targets, mask = targets[:, : int(mask.sum(1).max())], mask[:, : int(mask.sum(1).max())]
        if pictures is None:
            states = self._evaluated(self._of_grey).expand(len(targets), -1, -1)
        else:
            of_pictures = self.pair_states(self.picture, pictures)
            self._check_pairs(of_pictures, captions)
            states = of_pictures["patches"].to(self._device)
        tokens = torch.nn.functional.pad(targets, (1, 0), value=self.start)
        logits = [
            self._evaluated(self.next_logits, tokens[:, :end], states) for end in range(1, tokens.shape[1])
        ]
        likelihood = torch.stack(logits, 1).float().log_softmax(2).gather(2, targets[..., None])[..., 0]
        return likelihood.masked_fill(~mask, torch.nan).cpu()

    @torch.no_grad()
    def caption(
        self,
        pictures: Any,
        *,
        beams: Count = 1,
        sample: bool = False,
        temperature: Positive = 1.0,
        top_p: Share = 1.0,
        max_tokens: int | None = None,
        seed: int = 0,
    ) -> list[str]:
        """Write a caption of each picture: the likeliest token at a time, by beam search, or sampled.

        Args:
            pictures: as for `embed`.
            beams: captions that are followed at once; 1 takes the likeliest token.
            sample: draws tokens.
            temperature: of the sampling.
            top_p: draws from the likeliest tokens that together have this probability.
            max_tokens: tokens after which a caption is cut off; as many as the decoder knows unless given.
            seed: of the sampling.

        Raises:
            LookupError: for a tokenizer that cannot turn tokens into text again.
        """
        from ..networks.caption_generation import generate

        tokenizer: Any = self.tokenizer
        if not hasattr(tokenizer, "decode"):
            raise LookupError(f"{type(tokenizer).__name__} cannot turn tokens into text again")
        states = self.pair_states(self.picture, pictures)["patches"].to(self._device)
        written: list[str] = []
        for part in torch.split(states, _AT_ONCE):
            tokens = self._evaluated(
                generate,
                self.next_logits,
                part,
                prompts=torch.full((len(part), 1), self.start, device=part.device),
                end=self.tokenizer.end,
                length=min(max_tokens or self.length, self.length),
                beams=beams,
                sample=sample,
                temperature=temperature,
                top_p=top_p,
                seed=seed,
            )
            written += [tokenizer.decode(of_one) for of_one in tokens]
        return written

    @torch.no_grad()
    def pair_states(self, column: str, raw: Any) -> PairStates:
        """Return what `pair_scores` needs of inputs of a column, as for `embed`.

        Of pictures the states of their patches; of texts their tokens, and their log-likelihood given a grey picture.
        """
        if column == self.text:
            tokens = self._tokens(resolve(MODALITIES.get("text").check)(raw))
            blind = self._evaluated(self._likelihood, None, tokens)[:, 0]
            return {"tokens": tokens, "blind": blind}
        tower, modality = self.tower(column), MODALITIES.get("image")
        raw = raw if modality.accept is None else resolve(modality.accept)(raw, tower.input)
        prepared = tower.input(resolve(modality.check)(raw).to(self._device))
        parts = [self._evaluated(self.patch_states, part).cpu() for part in torch.split(prepared, _AT_ONCE)]
        return {"patches": torch.cat(parts)}

    @torch.no_grad()
    def pair_scores(self, a: PairStates, b: PairStates) -> Float[Tensor, "n heads"]:
        """Return the scores of each pair of a picture and a text, row by row, one for each of ``pair_heads``."""
        pictures, texts = (a, b) if "patches" in a else (b, a)
        scores = self._evaluated(self._likelihood, pictures["patches"], texts["tokens"])[:, 0]
        return torch.stack([scores, scores - texts["blind"]], 1)

    def score(self, pictures: Any, captions: Sequence[str], head: str = "joint") -> Float[Tensor, " n"]:
        """Return the score of each pair of a picture and a caption.

        Args:
            pictures: as for `embed`, one for each caption.
            captions: texts.
            head: ``"joint"``, the log-likelihood of the caption, or ``"pmi"``, that less the one without the picture.

        Raises:
            UnknownNameError: for another head.
            ValueError: for other than one picture for each caption.
        """
        if head not in self.pair_heads:
            raise unknown("head of pairs", head, self.pair_heads)
        states = self.pair_states(self.picture, pictures)
        self._check_pairs(states, captions)
        scores = self.pair_scores(states, self.pair_states(self.text, list(captions)))
        return scores[:, self.pair_heads.index(head)]

    def _check_pairs(self, states: PairStates, captions: Sequence[str]) -> None:
        if len(states["patches"]) != len(captions):
            raise ValueError(
                f"{len(states['patches'])} pictures and {len(captions)} captions: give one for each"
            )

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _of_grey(self) -> Float[Tensor, "1 P W"]:
        """Return the states of a plain grey picture."""
        size = self.image_tower.size
        return self.patch_states(torch.full((1, 3, size, size), 0.5, device=self._device))

    def _tokens(self, captions: Sequence[str]) -> Int[Tensor, "n L"]:
        """Return tokens padded to the context, so that those of several calls have one shape."""
        tokens = self.tokenizer(list(captions))
        return torch.nn.functional.pad(tokens, (0, self.tokenizer.context - tokens.shape[1]))

    def _likelihood(
        self, states: Float[Tensor, "n P W"] | None, tokens: Int[Tensor, "n L"]
    ) -> Float[Tensor, "n 2"]:
        """Return `log_likelihood_of_tokens` in parts, on the processor; without states those of a grey picture."""
        if states is None:
            states = self._of_grey().expand(len(tokens), -1, -1)
        parts = []
        for some, of_some in zip(torch.split(states, _AT_ONCE), torch.split(tokens, _AT_ONCE), strict=True):
            targets, mask = self.targets_of(of_some.to(self._device))
            longest = int(mask.sum(1).max()) if len(mask) else 0
            parts.append(
                self.log_likelihood_of_tokens(
                    targets[:, :longest], mask[:, :longest], some.to(self._device)
                ).cpu()
            )
        return torch.cat(parts)

    def _evaluated(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call a function in evaluation mode."""
        was_training = self.training
        self.eval()
        try:
            return function(*args, **options)
        finally:
            self.train(was_training)
