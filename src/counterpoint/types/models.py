"""Abilities of models, each a protocol: to embed, to classify, to judge labels, to transcribe, to caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from .learning import Target
from .prompts import Prompt, ReplyAttention


@runtime_checkable
class Embedder(Protocol):
    """The part of a model that tasks, diagnostics and users need."""

    heads: tuple[str, ...]

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(N, d)`` of a column's raw inputs.

        Raw inputs are uint8 pictures ``(N, 3, H, W)``, a list of strings, or what `counterpoint.raw` has for another
        modality.
        """
        ...

    def similarity(self, a: Tensor, b: Tensor) -> Tensor: ...


@runtime_checkable
class ColumnEmbedder(Protocol):
    """A model that says which columns it embeds."""

    @property
    def embeds(self) -> tuple[str, ...]: ...


@runtime_checkable
class JointEmbedder(Protocol):
    """A model that embeds several columns of an example together, beside each by itself.

    Attributes:
        joint_columns: the names that it takes for this, which are those of columns joined by +: ``audio+video``. Inputs
            of such a column are a mapping from each of its columns to raw inputs of the same examples.
    """

    @property
    def joint_columns(self) -> tuple[str, ...]: ...


@runtime_checkable
class Classifier(Protocol):
    """A model that says which class of one label an example is of, from those of its columns that there are.

    Attributes:
        target: the label; None where it was trained without one.
        columns: that it looks at.
        incomplete: ``"use"`` where it answers without some of them too.
        shares_space: embeddings of one column can be compared with those of another.
    """

    @property
    def shares_space(self) -> bool: ...

    target: Target | None
    columns: Mapping[str, Any]
    incomplete: Literal["drop", "use"]

    def classify(
        self, inputs: Mapping[str, Any] | Any, present: Mapping[str, Bool[np.ndarray, " n"]] | None = None
    ) -> Float[Tensor, "n classes"]:
        """Return the probability of every class; LookupError where it was trained without a label."""
        ...


@runtime_checkable
class RenamesClasses(Classifier, Protocol):
    """A classifier that may tell other classes apart by their names."""

    def renamed(self, names: Sequence[str]) -> Classifier:
        """Return the model for other classes; LookupError where it knows more of its classes than their names."""
        ...


@runtime_checkable
class JudgesLabels(Classifier, Protocol):
    """A classifier that says how likely the labels that it learned from are wrong, or lack a tag."""

    def wrong(self, ids: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the probability that the label of each item is wrong, NaN for those that nothing is known of."""
        ...


@runtime_checkable
class PatchEmbedder(Protocol):
    """A model that embeds the places of pictures too, for tasks that ask where things are."""

    def embed_patches(
        self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default"
    ) -> Float[Tensor, "n d h w"]:
        """Return unit-norm embeddings of places; LookupError where the model's tower has none."""
        ...


@runtime_checkable
class PhraseMapper(Protocol):
    """A model that says itself which places of a picture a phrase rests on.

    Attributes:
        maps_phrases: whether it does so as it was built.
    """

    @property
    def maps_phrases(self) -> bool: ...

    def phrase_maps(
        self, pictures: UInt8[Tensor, "n 3 H W"], phrases: Sequence[str]
    ) -> Float[Tensor, "n h w"]:
        """Return a map of each picture for its own phrase."""
        ...


@runtime_checkable
class EncodesPatches(Protocol):
    """A model with an image tower that gives features of patches, without a head."""

    def patch_features(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n w h v"]:
        """Return the tower's features of patches; LookupError where it has none."""
        ...


@runtime_checkable
class RegionEmbedder(Protocol):
    """A model that embeds boxes of pictures, for tasks that give these."""

    def embed_regions(
        self,
        pictures: UInt8[Tensor, "n 3 H W"],
        boxes: Float[Tensor, "n k 4"],
        head: str = "default",
        side: int | None = None,
    ) -> Float[Tensor, "n k d"]:
        """Return unit-norm embeddings of boxes in shares of the sides, of pictures resized to a side in pixels.

        Raises:
            LookupError: where the model's tower has no features of patches.
            ValueError: for a side that it cannot take.
        """
        ...


@runtime_checkable
class PredictsTeachers(Protocol):
    """A model that predicts features of the teachers that it learned from."""

    def teacher_features(
        self, pictures: UInt8[Tensor, "n 3 H W"], side: int | None = None
    ) -> Mapping[str, tuple[Float[Tensor, "n m d"], Float[Tensor, "n m d"]]]:
        """Return predicted and true features of teachers: ``"summary"`` (m = 1) and ``"patches"``.

        Of several teachers the names end in their numbers: ``"patches_1"``. The teachers see pictures of their own
        size.

        Args:
            pictures: of any size.
            side: in pixels, that the model sees them at; that of its tower unless given.

        Raises:
            ValueError: for a side that the tower cannot take, and a teacher that cannot be read.
        """
        ...


@runtime_checkable
class EnergyModel(Protocol):
    """A model with an energy of pictures, which is low for what is familiar."""

    def energy(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, " n"]: ...


@runtime_checkable
class Transcriber(Protocol):
    """A model that writes down what is said."""

    def transcribe(self, sounds: Any) -> list[str]:
        """Return what is said in each of some sounds, `counterpoint.raw.Waves`."""
        ...


PairStates = Mapping[str, Tensor]
"""What a joint score needs of some inputs of one column, by name; the first axis of each is the input."""


@runtime_checkable
class PairScorer(Protocol):
    """A model that scores a picture and a text together, beside or in place of comparing their embeddings.

    Attributes:
        pair_heads: the names of the scores of a pair; the first is the main one.
    """

    pair_heads: tuple[str, ...]

    def pair_states(self, column: str, raw: Any) -> PairStates:
        """Return what `pair_scores` needs of inputs of a column in their raw form.

        The shapes behind the first axis are the same in all calls for one column.
        """
        ...

    def pair_scores(self, a: PairStates, b: PairStates) -> Float[Tensor, "n heads"]:
        """Return the scores of each pair, row by row, one for each of ``pair_heads``.

        They do not depend on the other pairs. The states are those of two columns, in either order.
        """
        ...


@runtime_checkable
class Captioner(Protocol):
    """A model that writes captions of pictures and says how likely a caption is."""

    def caption(self, pictures: Any, **options: Any) -> list[str]:
        """Return a caption of each picture."""
        ...

    def log_likelihood(self, pictures: Any, captions: Sequence[str]) -> Float[Tensor, "n 2"]:
        """Return the log-likelihood of captions given pictures, row by row, and the number of their tokens.

        Without pictures (None) it is that of the captions by themselves.
        """
        ...


@runtime_checkable
class Speaking(Protocol):
    """A model that says how likely it finds each word of a reply to a request about a picture.

    Attributes:
        pictures: the columns of pictures that a request is about.
    """

    @property
    def pictures(self) -> tuple[str, ...]: ...

    def log_likelihood_of_words(
        self, pictures: Sequence[UInt8[Tensor, "*n 3 H W"] | None], exchanges: Sequence[Any]
    ) -> list[Float[Tensor, " words"]]:
        """Return the log-likelihood of each word of each reply, and behind them that of the reply's end.

        Args:
            pictures: one for each exchange, of several columns as one tensor; None for an exchange without a picture.
            exchanges: pairs of a request and a reply (`counterpoint.raw.Exchange`).
        """
        ...


@runtime_checkable
class CompletesReplies(Protocol):
    """A model that goes on with replies to requests about pictures, and sees as much of the pictures as it is told."""

    def complete(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Return what follows the beginning of each reply.

        Args:
            prompts: what is asked.
            beginnings: of the replies; an empty one for a whole reply.
            hidden: share of the picture's tokens that no text attends to in any layer. The tokens are drawn for each
                prompt by the seed.
            seed: of the draws and of the sampling.
        """
        ...


@runtime_checkable
class ShowsAttention(Protocol):
    """A model that says where in the pictures of a request it attends as it writes a reply."""

    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        """Return the attention of each reply to the pictures of its prompt."""
        ...


@runtime_checkable
class MatchesThings(Protocol):
    """A model that finds objects of one picture in another one."""

    def match(
        self, pictures: UInt8[Tensor, "n 2 3 H W"], maps: UInt8[Tensor, "n 2 H W"], *, own: bool = False
    ) -> Float[Tensor, "n k k"]:
        """Return a score of each object of the first picture with each of the second; −∞ where one is missing.

        Args:
            pictures: pairs.
            maps: of each, the numbers of objects; 0 is background.
            own: without what the model learned to match by.
        """
        ...


@runtime_checkable
class DrawsWords(Protocol):
    """A painter that has learned new words.

    Attributes:
        words: that texts may have, each in angle brackets.
    """

    @property
    def words(self) -> tuple[str, ...]: ...

    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text, with values in [0, 1]."""
        ...

    def attention_of_words(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n N s s"]:
        """Return where each word attends on the central squares of pictures, from 0 to 1."""
        ...


@runtime_checkable
class JudgesReplies(Protocol):
    """A model that says which words of a reply to a request about a picture are true."""

    def judge(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Float[Tensor, " words"]]:
        """Return the probability that each word of each reply is true.

        Args:
            prompts: what was asked.
            replies: one for each prompt. Words that the model's context cuts have no probability.
        """
        ...


@runtime_checkable
class NamesSentences(Protocol):
    """A model that says which sentences a report on a picture would hold, in no order."""

    def name_sentences(self, pictures: Any, sentences: Sequence[str]) -> list[list[int]]:
        """Return the numbers of those of some sentences that each picture gives.

        Args:
            pictures: as for `Embedder.embed`.
            sentences: to choose from.
        """
        ...


@runtime_checkable
class FindsKeys(Protocol):
    """A model that says which frames of a clip and which sentences of its transcript are key."""

    def key_scores(self, inputs: Mapping[str, Any]) -> Mapping[str, Float[Tensor, "n _"]]:
        """Return the score of each frame and of each sentence, by column, NaN behind the last of a row.

        Args:
            inputs: clips and transcripts of the same examples in their raw forms, by column.
        """
        ...


@runtime_checkable
class NamesPatches(Protocol):
    """A model that gives each patch of a picture a name, in another way than by similarities of embeddings."""

    def name_maps(self, pictures: UInt8[Tensor, "n 3 H W"], names: Sequence[str]) -> Float[Tensor, "n k h w"]:
        """Return how far each name applies at each patch of the central squares of pictures."""
        ...


@runtime_checkable
class FindsMoments(Protocol):
    """A model that says which moments of a clip a query asks for, and how salient each frame is for it."""

    def find_moments(self, inputs: Mapping[str, Any]) -> tuple[Float[Tensor, "n q 3"], Float[Tensor, "n T"]]:
        """Return spans, each its start, its end and its score, and the saliency of frames, NaN behind the last.

        Starts and ends are shares of the clip's length.

        Args:
            inputs: clips and queries of the same examples in their raw forms, by column.
        """
        ...
