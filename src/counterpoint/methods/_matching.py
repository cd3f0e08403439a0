"""The base of methods with a joint encoder, which is asked whether a picture and a text belong together."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..forms import Count, Fraction, Natural, NonNegative, Positive, Share
from ..modalities import MODALITIES, PAIR_PASSES, resolve
from ..networks.base import ImageTower, TextTower, Towers
from ..networks.fusion.co_encoder import CoEncoder
from ..networks.fusion.concat_encoder import ConcatEncoder
from ..networks.fusion.joint_encoder import JointEncoder, is_word
from ..networks.fusion.relevance import relevance, unit_range
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import pool
from ..networks.towers.parts.regions import grid
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..types import Batch, Embeddings, Pairs, PairStates
from .needs import Needs
from .tower_method import TowerMethod, paired

PATCHES, WORDS = "patches.", "words."
"""Prefixes of the names of the states of patches and of words."""
PICTURE_OF, TEXT_OF, LABEL, MATCH = "pair.picture", "pair.text", "pair.label", "pair.match"
"""Names of pairs: the rows of their picture and text, 1 for those that belong together, and what the head says."""
Negatives = Literal["similarity", "random"]
"""Ways in which the rows that do not belong together are drawn."""
PairFusion = Literal["cross", "co", "concat"]
"""Choices of joint encoders: words read patches (`JointEncoder`), both read each other (`CoEncoder`), or all attend to
all (`ConcatEncoder`)."""
_ENCODERS: Mapping[PairFusion, type[JointEncoder | CoEncoder | ConcatEncoder]] = {
    "cross": JointEncoder,
    "co": CoEncoder,
    "concat": ConcatEncoder,
}
_AT_ONCE = 256
"""Pictures or texts that are encoded at once in use."""


class MatchingOptions(TypedDict, total=False):
    """Options of methods that are built on `ALBEF`; see there."""

    contrast: NonNegative
    matching: NonNegative
    words: NonNegative
    alpha: Fraction
    momentum: Fraction
    queue: Natural
    negatives: Negatives
    hidden: Share
    depth: Count
    temperature: Positive


class MatchingMethod(TowerMethod):
    """Two towers, and a joint encoder of the words of one and the patches of the other.

    A batch meets in three kinds of pairs: each picture with its text, each picture with another text, and each text
    with another picture, all of this rank's rows. The joint encoder says of each whether it belongs together.

    The vector of a picture is the mean of its patches, and that of a text is the state that its tower reads. A pair is
    scored by the joint encoder (``joint``): the logit that it belongs together.

    Args:
        towers: of pictures, with features of patches, and of texts, read both ways. Of further columns, which a
            subclass may take, the input alone is used.
        depth: blocks of the joint encoder.
        negatives: how the other rows are drawn: by the softmax of `closeness`, or all alike.
        fusion: the joint encoder.

    Raises:
        LookupError: for an image tower without features of patches.
        ValueError: for a text tower without a mask token.
    """

    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    asks: ClassVar[Mapping[str, str]] = {"": "masks_words"}
    pair_heads: tuple[str, ...] = ("joint",)
    draws = True

    def __init__(
        self, towers: Towers, *, depth: int, negatives: Negatives, fusion: PairFusion = "cross"
    ) -> None:
        super().__init__(towers)
        self.picture, self.text, *further = towers
        self.use_input_alone(*further)
        self.negatives = negatives
        self.views = paired(towers)
        reader = self.text_tower
        if not reader.masks_words or reader.pooling is None:
            raise ValueError(
                f"{type(self).__name__} asks for words behind a mask token, which the text tower {reader.name!r} does "
                "not know: take text=reader"
            )
        self.joint: JointEncoder | CoEncoder | ConcatEncoder = _ENCODERS[fusion](
            reader.width,
            self.image_tower.width,
            math.prod(grid(self.image_tower)),
            depth,
            heads=math.gcd(reader.width, 4),
        )
        self.block = (depth - 1) // 2  # the third of six, whose attention maps are read of
        self.match_head = Linear(reader.width * self.joint.streams, 2, std=0.02, bias=True)

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    @abstractmethod
    def closeness(self, z: Embeddings) -> tuple[Float[Tensor, "B B"], Float[Tensor, "B B"]]:
        """Return logits by which other rows are drawn: of each picture to all texts, of each text to all pictures."""

    def encode(self, batch: Batch) -> Embeddings:
        return self.encoded(self.towers, batch[self.picture], self.tokens(batch))

    def tokens(self, batch: Batch) -> Int[Tensor, "B L"]:
        """Return the texts of a batch that are embedded and matched."""
        return batch[self.text]

    def encoded(self, towers: nn.Module, pictures: Tensor, tokens: Tensor) -> Embeddings:
        """Return the states of patches and words, and the vectors of pictures and texts, by this or a copy's towers."""
        image, reader = (towers.get_submodule(self.columns[column]) for column in (self.picture, self.text))
        assert isinstance(image, ImageTower)
        assert isinstance(reader, TextTower)
        patches = image.patches(pictures).flatten(2).mT
        words = reader.states(tokens)
        return {
            self.picture: patches.mean(1),
            PATCHES + self.picture: patches,
            self.text: self.read(words),
            WORDS + self.text: words,
        }

    def read(self, words: Float[Tensor, "B L W"], like: Tensor | None = None) -> Float[Tensor, "B W"]:
        """Return one vector of the words of each text, as its tower does; padding is where ``like`` has zeros."""
        how = self.text_tower.pooling
        assert how is not None
        return pool(words, is_word(words if like is None else like), how)

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture:
            return self.image_tower.patches(inputs).flatten(2).mT.mean(1)
        return super().features(column, inputs)

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        if self.negatives == "random":
            texts = pictures = z[self.picture].new_zeros(len(batch), len(batch))
        else:
            texts, pictures = self.closeness(z)
        other_text, has_other = draw_others(texts, batch.ids)
        other_picture, _ = draw_others(pictures, batch.ids)
        rows = has_other.nonzero()[:, 0]
        label = torch.ones_like(rows)
        return {
            PICTURE_OF: torch.cat([rows, rows, other_picture[rows]]),
            TEXT_OF: torch.cat([rows, other_text[rows], rows]),
            LABEL: torch.cat([label, 0 * label, 0 * label]),
        }

    def fuse(self, z: Embeddings, pairs: Pairs) -> Embeddings:
        patches = z[PATCHES + self.picture][pairs[PICTURE_OF]]
        return {MATCH: self.matched(z[WORDS + self.text][pairs[TEXT_OF]], patches)}

    def matched(self, words: Float[Tensor, "n L W"], patches: Float[Tensor, "n P V"]) -> Float[Tensor, "n 2"]:
        """Return the logits of whether words and patches belong together: no, and yes."""
        states, *others = self.joint.fused(words, patches)
        vectors = [self.read(states, like=words), *(other.mean(1) for other in others)]
        return self.match_head(torch.cat(vectors, 1))

    def matching(self, z: Embeddings) -> Float[Tensor, ""]:
        """Return the cross-entropy of the labels of pairs, the mean over the pairs of all ranks."""
        return mean_of_all(F.cross_entropy(upcast(z[MATCH]), z[LABEL], reduction="none"))

    def passes(self) -> dict[str, float]:
        return {**super().passes(), PAIR_PASSES: 3}

    @torch.no_grad()
    def pair_states(self, column: str, raw: Any) -> PairStates:
        """Return what `pair_scores` needs of inputs of a column, as for `embed`: the states of patches or words."""
        tower, modality = self.tower(column), MODALITIES.get(self.tower(column).modality)
        raw = raw if modality.accept is None else resolve(modality.accept)(raw, tower.input)
        raw = resolve(modality.check)(raw)
        prepared = tower.input(raw.to(self._device) if isinstance(raw, Tensor) else raw)
        name, encode = PATCHES, lambda part: self.image_tower.patches(part).flatten(2).mT
        if column == self.text:
            # Those of several calls have one shape.
            context = self.text_tower.tokenizer.context
            prepared = F.pad(prepared, (0, context - prepared.shape[1]))
            name, encode = WORDS, self.text_tower.states
        parts = [
            self._evaluated(encode, part.to(self._device)).cpu() for part in torch.split(prepared, _AT_ONCE)
        ]
        return {name: torch.cat(parts)}

    @torch.no_grad()
    def pair_scores(self, a: PairStates, b: PairStates) -> Float[Tensor, "n 1"]:
        """Return the logit that a picture and a text belong together, row by row."""
        pictures, texts = (a, b) if PATCHES in a else (b, a)
        words, patches = texts[WORDS].to(self._device), pictures[PATCHES].to(self._device)
        logits = self._evaluated(self.matched, words, patches)
        return (logits[:, 1:] - logits[:, :1]).cpu()

    def score(self, pictures: Any, captions: Sequence[str]) -> Float[Tensor, " n"]:
        """Return the logit that each picture and its caption belong together.

        Args:
            pictures: as for `embed`, one for each caption.
            captions: texts.

        Raises:
            ValueError: for other than one picture for each caption.
        """
        states = self.pair_states(self.picture, pictures)
        if len(states[PATCHES]) != len(captions):
            raise ValueError(
                f"{len(states[PATCHES])} pictures and {len(captions)} captions: give one for each"
            )
        return self.pair_scores(states, self.pair_states(self.text, list(captions)))[:, 0]

    @property
    def maps_phrases(self) -> bool:
        """Whether it has `phrase_maps`: its words read patches, and patches read no words."""
        return isinstance(self.joint, JointEncoder)

    @torch.no_grad()
    def phrase_maps(
        self, pictures: UInt8[Tensor, "n 3 H W"], phrases: Sequence[str]
    ) -> Float[Tensor, "n h w"]:
        """Return which patches of each picture its phrase rests on, from 0 to 1: `relevance`, the mean over words.

        Args:
            pictures: one for each phrase.
            phrases: texts.

        Raises:
            LookupError: for a joint encoder whose patches read words, too.
        """
        words, patches, size = self._words_and_patches(pictures, phrases)
        maps = self._evaluated(self.relevant_patches, words, patches)
        return unit_range(maps).view(len(maps), *size).cpu()

    @torch.no_grad()
    def word_maps(
        self, pictures: UInt8[Tensor, "n 3 H W"], captions: Sequence[str]
    ) -> Float[Tensor, "n L h w"]:
        """Return which patches of each picture each token of its caption rests on: `relevance`, not scaled.

        Args:
            pictures: one for each caption.
            captions: texts, of whose tokens (``tokenizer(captions)``) each has a map.

        Raises:
            LookupError: for a joint encoder whose patches read words, too.
        """
        words, patches, size = self._words_and_patches(pictures, captions)
        maps = self._evaluated(self.relevance_of_words, words, patches)
        return maps.view(*maps.shape[:2], *size).cpu()

    def _words_and_patches(
        self, pictures: UInt8[Tensor, "n 3 H W"], texts: Sequence[str]
    ) -> tuple[Float[Tensor, "n L D"], Float[Tensor, "n P V"], tuple[int, int]]:
        """Return the states of words and patches, and how many rows and columns of patches there are."""
        if not self.maps_phrases:
            raise LookupError(
                f"{type(self).__name__} with fusion=co or concat has no attention of words to patches alone"
            )
        grid = self.patch_features(pictures)
        words = self._evaluated(self.text_tower.states, self.text_tower.tokenizer(texts).to(self._device))
        return words, grid.flatten(2).mT, (grid.shape[2], grid.shape[3])

    def relevant_patches(
        self, words: Float[Tensor, "n L W"], patches: Float[Tensor, "n P V"], create_graph: bool = False
    ) -> Float[Tensor, "n P"]:
        """Return which patches the logit that words and patches belong together rests on, the mean over words."""
        return pool(self.relevance_of_words(words, patches, create_graph), is_word(words), "mean")

    def relevance_of_words(
        self, words: Float[Tensor, "n L W"], patches: Float[Tensor, "n P V"], create_graph: bool = False
    ) -> Float[Tensor, "n L P"]:
        """Return by word which patches the logit that words and patches belong together rests on."""
        with torch.inference_mode(False), torch.enable_grad():  # an evaluation may be in inference mode
            if patches.is_inference():
                words, patches = words.clone(), patches.clone()
            patches = patches if patches.requires_grad else patches.detach().requires_grad_()
            # Fused attention has no second derivative.
            with sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext():
                states, attention = self.joint(words, patches, attention_of=self.block)
            logits = self.match_head(self.read(states, like=words))[:, 1]
            return relevance(logits, attention, create_graph)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _evaluated(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Call a function in evaluation mode."""
        was_training = self.training
        self.eval()
        try:
            return function(*inputs)
        finally:
            self.train(was_training)


def draw_others(
    logits: Float[Tensor, "B B"], ids: Int[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
    """Draw another row for each row by the softmax of logits over the rows with other ids.

    The softmax is of these rows alone: of a softmax over all rows, whose own entry is then set to zero, nothing may be
    left.

    Returns:
        The rows, and which rows have another one.

    >>> logits = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    >>> draw_others(logits, torch.tensor([7, 8]))
    (tensor([1, 0]), tensor([True, True]))
    """
    other = ids[:, None] != ids[None]
    has_other = other.any(1)
    # A row without another one draws any, which nobody uses.
    allowed = other | ~has_other[:, None]
    weights = upcast(logits).masked_fill(~allowed, -torch.inf).softmax(1)
    drawn = torch.multinomial(weights, 1)[:, 0] if len(ids) else ids
    return drawn, has_other


def mean_of_all(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Return the mean over the values of all ranks, of which each may have none; 0 where none has any."""
    return moments.mean(values, torch.ones_like(values.detach()), ranks=Ranks.present())
