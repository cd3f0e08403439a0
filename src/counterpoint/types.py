"""The vocabulary below everything else: batches, views, embeddings, the clock, scores, prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

if TYPE_CHECKING:
    import polars as pl

PAPERS = {"crl-framework": ("View",)}

Embeddings = dict[str, Tensor]
"""Tensors that a method computed per sample, by name (``"image"``, ``"text.1"``); the first axis is the batch."""


class NonFiniteLoss(FloatingPointError):
    """The error for a loss that is NaN or infinite; the message names the step, the term and the batch's ids."""


@final
@dataclass(frozen=True)
class Fit:
    """The way from a picture to the square that a tower takes: resized, then cut, or padded, to its middle.

    >>> Fit(224, 256).resized(300, 400), Fit(224, 224, "longest").resized(300, 400)
    ((256, 341), (168, 224))

    Attributes:
        size: side of the square in pixels.
        side: what the picture is resized to, before the middle ``size`` pixels are taken.
        resize: which sides of the picture become ``side``: the ``"shortest"``, the ``"longest"`` (a border fills the
            square), or both, ``"squash"``.
        interpolation: a filter of Pillow's.
        fill: colour of the border.
        resizer: Pillow, or torchvision on tensors of bytes, whose pixels differ by a step here and there.
        half: where the middle begins if an odd number of pixels is cut off: at the even one of two numbers, as
            torchvision and timm do, or at the lower one, as transformers does.
    """

    size: int
    side: int
    resize: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"] = "bicubic"
    fill: tuple[int, int, int] = (0, 0, 0)
    resizer: Literal["pillow", "torchvision"] = "pillow"
    half: Literal["even", "lower"] = "even"

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and the width of a picture that is resized; rounded as torchvision and timm do."""
        if self.resize == "squash":
            return self.side, self.side
        if self.resize == "longest":
            ratio = max(height, width) / self.side
            return max(round(height / ratio), 1), max(round(width / ratio), 1)
        long = int(self.side * max(height, width) / min(height, width))
        return (self.side, long) if height <= width else (long, self.side)

    def start(self, length: int) -> int:
        """Return where the square begins on a resized line of so many pixels; below 0 where a border comes first."""
        spare = length - self.size
        if spare < 0:
            return -(-spare // 2)
        return round(spare / 2) if self.half == "even" else spare // 2

    def uncut(self, side: int) -> Fit:
        """Return the fit that resizes in the same way to another side and cuts nothing off a square."""
        return replace(self, size=side, side=side)


@dataclass(frozen=True)
class View:
    """One look at one column of an example.

    Attributes:
        modality: of the column, by its name in ``counterpoint.modalities``.
        augmentation: a view that the modality has (``"plain"``, ``"weak"``, ``"strong"``, ``"simclr"``).
        column: that is looked at; the first of its modality, which bears the modality's name, unless given.
        like: the name of the view that this one is derived from: it shows the same part of the example (the same
            caption, crop and mirroring, seconds or steps), whatever else is done to either. Of columns that were
            recorded together it shows the same time.
        size: side of the view, as a share of the one that the column's tower takes; of pictures. A pass of a view of
            half the side counts as a quarter.
        framed: ``Batch.frames`` says where in the picture the view lies.

    Raises:
        ValueError: for a size that is not above 0 and at most 1.
    """

    modality: str
    augmentation: str = "plain"
    column: str = ""
    like: str = ""
    size: float = 1.0
    framed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.modality)
        if not 0 < self.size <= 1:
            raise ValueError(
                f"a view of size {self.size:g}: give a share of the tower's side above 0 and at most 1, as it takes no "
                "more pixels than that"
            )


ViewSpec = Mapping[str, View]
"""The views that a batch holds, by name. ``{"image": View("image", "weak"), "text": View("text")}``"""


@dataclass(frozen=True)
class Batch:
    """Some examples, seen through some views.

    Attributes:
        ids: stable integers, the same on every rank and in every epoch.
        views: a view's name to its tensor, the input of its tower: images ``(B, 3, H, W)`` in [0, 1], token ids
            ``(B, L)``.
        labels: the data's labels by name: classes ``(B,)``, −1 where an example has none; tags ``(B, C)``, 1 where one
            applies, 0 where it does not, −1 where that is not known; numbers ``(B,)`` as floats, NaN where they are not
            known; points ``(B, 2)``, x and y as shares of width and height in [0, 1], NaN where they are not known.
        present: a column to which of the examples have a value in it, ``(B,)``; of a column that is not named, all have
            one. The views of the others hold some tensor, which must not matter.
        frames: of each view that asks for it, ``View.framed``, where in the picture it lies ``(B, 2, 3)``; see
            `counterpoint.frames`. The picture is the one that the data gives: of files, the square that is kept.
    """

    ids: Int[Tensor, " B"]
    views: Mapping[str, Tensor]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Bool[Tensor, " B"]] = field(default_factory=dict)
    frames: Mapping[str, Float[Tensor, "B 2 3"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, view: str) -> Tensor:
        return self.views[view]

    def has(self, column: str) -> Bool[Tensor, " B"]:
        """Return which of the examples have a value in a column.

        >>> batch = Batch(torch.arange(3), {}, present={"audio": torch.tensor([True, False, True])})
        >>> batch.has("audio").tolist(), batch.has("text").tolist()
        ([True, False, True], [True, True, True])
        """
        there = self.present.get(column)
        return torch.ones_like(self.ids, dtype=torch.bool) if there is None else there

    def to(self, device: Any) -> Batch:
        return self.map(lambda t: t.to(device, non_blocking=True))

    def split(self, size: int) -> Iterator[Batch]:
        """Yield consecutive parts of at most ``size`` examples."""
        for start in range(0, len(self), size):
            yield self.map(itemgetter(slice(start, start + size)))

    def divide(self, count: int) -> Iterator[Batch]:
        """Yield consecutive parts, so many, whose sizes differ by 1 at most."""
        ends = [len(self) * number // count for number in range(count + 1)]
        for start, end in pairwise(ends):
            yield self.map(itemgetter(slice(start, end)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor of it changed in the same way: moved, or cut to some examples."""
        named = (self.views, self.labels, self.present, self.frames)
        return Batch(function(self.ids), *({k: function(v) for k, v in m.items()} for m in named))


@dataclass(frozen=True)
class Clock:
    """The position of a run: ``step`` of ``steps`` (from 0), in ``epoch`` (from 0).

    ``ends_task``: after this step another task begins (see `counterpoint.data.loading.order.InTurn`). ``stage``: the
    name of the stage that the step belongs to; empty for methods that have none.
    """

    step: int
    steps: int
    epoch: int = 0
    ends_task: bool = False
    stage: str = ""

    @property
    def progress(self) -> float:
        return self.step / max(self.steps, 1)


Kind = Literal["classes", "tags", "numbers", "points"]
"""Kinds of labels, which are one class of several, tags of which several may apply, a number, or a point."""


@final
@dataclass(frozen=True)
class Target:
    """The label that a method learns from.

    Attributes:
        label: its name among those of the data.
        classes: the names of its classes or tags, in the order of their numbers; none of other kinds.
        kind: of the label; `Batch.labels` says how a batch holds it.
    """

    label: str
    classes: tuple[str, ...]
    kind: Kind = "classes"


@dataclass(frozen=True)
class Stage:
    """A share of a run's steps in which some of a method's parameters move.

    The learning rate's schedule and the optimiser's state begin anew with every stage.

    Attributes:
        name: which ``Clock.stage`` says.
        share: of the steps, beside the shares of the other stages: 1 and 3 are a quarter and three quarters.
        moves: how the names of the parameters begin that move; all unless given. What the method does not train at all
            moves in no stage.

    Raises:
        ValueError: for a share that is not positive.
    """

    name: str
    share: float
    moves: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(
                f"stage {self.name!r} has a share of {self.share} of the steps; give one above 0"
            )


@runtime_checkable
class Examples(Protocol):
    """All examples that a run trains on, in the order of the data; the same on every rank.

    Attributes:
        ids: of the examples.
        labels: by name, as in a batch.
    """

    ids: Int[Tensor, " N"]
    labels: Mapping[str, Tensor]

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return what a function of batches says of all examples ``(N, …)``, in their order, on the processor.

        The batches hold the plain view of each column that the method looks at, by the column's name. The ranks share
        the work, and each gets the whole; the function must work example by example, and return as many rows as a
        batch has.
        """
        ...


Constant = Callable[[Int[np.ndarray, " k"]], float]
"""A function from the positions of examples to the score of the best answer that is the same for all these examples."""


def mean(values: Float[np.ndarray, " n"]) -> float:
    return float(np.mean(values))


@dataclass(frozen=True)
class Metric:
    """A rule that makes a number from the outcomes of examples.

    An outcome is one number of an example, or a row of several (a class and what was taken for it, say).

    Attributes:
        columns: the column of the examples table that it reads, or k columns; an example that lacks one of them has no
            outcome.
        statistic: from outcomes ``(n,)``, or ``(n, k)`` of k columns in their order, to one number; the mean unless
            stated. Recomputed on every bootstrap resample.
        higher_is_better: the direction of better.
        chance: what guessing at random scores, where that is known.
        constant: from positions in the examples table to what the best answer that is the same for all of these
            examples scores; None where there is no such answer.
    """

    columns: str | tuple[str, ...]
    statistic: Callable[[np.ndarray], float] = mean
    higher_is_better: bool = True
    chance: float | None = None
    constant: Constant | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it reads, one or several."""
        return (self.columns,) if isinstance(self.columns, str) else self.columns


@dataclass(frozen=True)
class Scores:
    """The result of a task: the outcome of every example, and the metrics made from the outcomes.

    Attributes:
        task: the task's name.
        examples: a row per example; ``example`` (id), ``subset``, and columns of numbers, null where not applicable.
        metrics: a metric's name to how it is made from ``examples``.
        main: the metrics that verdicts are about, the primary one first; see `Task.main_metrics`.
    """

    task: str
    examples: pl.DataFrame
    metrics: Mapping[str, Metric]
    main: tuple[str, ...] = ()

    def value(self, metric: str, subset: str = "all") -> float:
        """Return the metric over all examples, or over those of one subset; NaN where there is none."""
        outcomes = self.outcomes(metric, subset)
        return self.metrics[metric].statistic(outcomes) if len(outcomes) else float("nan")

    def outcomes(self, metric: str, subset: str = "all") -> Float[np.ndarray, "n ..."]:
        """Return the outcomes behind a metric: ``(n,)``, or ``(n, k)`` where it reads k columns."""
        columns = self.metrics[metric].columns
        kept = self.examples[self.rows(metric, subset)]
        return (kept[columns] if isinstance(columns, str) else kept.select(columns)).to_numpy()

    def constant(self, metric: str, subset: str = "all") -> float | None:
        """Return what the best constant answer scores on the same examples, None where there is no such answer."""
        rows, constant = self.rows(metric, subset), self.metrics[metric].constant
        return None if constant is None or not len(rows) else constant(rows)

    def rows(self, metric: str, subset: str = "all") -> Int[np.ndarray, " k"]:
        """Return the positions of the examples of a subset that have an outcome."""
        kept = (self.examples["subset"] == subset).to_numpy() | (subset == "all")
        for name in self.metrics[metric].names:
            kept &= self.examples[name].is_not_null().to_numpy()
        return np.flatnonzero(kept)

    def subsets(self) -> tuple[str, ...]:
        """Return ``"all"``, then each subset that occurs, if there is more than one."""
        subsets = sorted(self.examples["subset"].unique().to_list())
        return ("all", *subsets) if len(subsets) > 1 else ("all",)


@runtime_checkable
class Embedder(Protocol):
    """The part of a model that tasks, diagnostics and users need."""

    heads: tuple[str, ...]

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(N, d)`` of raw inputs: uint8 images ``(N, 3, H, W)`` or a list of strings."""
        ...

    def similarity(self, a: Tensor, b: Tensor) -> Tensor: ...


@runtime_checkable
class ColumnEmbedder(Protocol):
    """A model that says which columns it embeds."""

    @property
    def embeds(self) -> tuple[str, ...]: ...


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
        self, inputs: Mapping[str, Any], present: Mapping[str, Bool[np.ndarray, " n"]] | None = None
    ) -> Float[Tensor, "n classes"]:
        """Return the probability of every class; LookupError where it was trained without a label."""
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
class EnergyModel(Protocol):
    """A model with an energy of pictures, which is low for what is familiar."""

    def energy(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, " n"]: ...


@runtime_checkable
class Transcriber(Protocol):
    """A model that writes down what is said."""

    def transcribe(self, sounds: Any) -> list[str]:
        """Return what is said in each of some sounds, `counterpoint.raw.Waves`."""
        ...


Picture = UInt8[Tensor, "3 H W"]


@dataclass(frozen=True)
class Turn:
    """An earlier turn of a conversation: what was asked, about which picture, and the reply.

    Attributes:
        text: what was asked.
        reply: what was answered.
        picture: None where the turn has none.
    """

    text: str
    reply: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Prompt:
    """One request to a model that answers in words.

    Attributes:
        text: what is asked.
        picture: what it is about; None asks without a picture.
        turns: shown before it, the first one first: examples in context, or the conversation so far.
        neutral: the same request without the lead that ``text`` has; None where it has none.
    """

    text: str
    picture: Picture | None = None
    turns: tuple[Turn, ...] = ()
    neutral: str | None = None


@runtime_checkable
class Assistant(Protocol):
    """A model that answers in words.

    Both calls give the same for a prompt whichever others stand beside it, up to the rounding of a batch.
    """

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        """Return a reply to each prompt, without special tokens.

        Args:
            prompts: what is asked.
            seed: of the sampling, where the assistant samples.
        """
        ...

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        """Compute how strongly each word begins the reply: the logit of its first token at the reply's first position.

        Words may begin with a small or a capital letter; where these are different tokens their probabilities add up.

        Raises:
            ValueError: if two words begin with the same token, so that they cannot be told apart.
        """
        ...
