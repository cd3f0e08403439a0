"""The parts of a score: a table by type, and a picture or a page of typical failures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..data.base import Data, Rows
from ..data.columns import subject, words
from ..data.embeddings import EmbeddingCache
from ..data.items import (
    Choices,
    ContrastCaptions,
    GeneratedVideos,
    Items,
    MinimalPairs,
    Narrations,
    Questions,
    QuestionVariants,
    Regions,
    TwinItems,
)
from ..data.pictures.frames import sheet
from ..files import writing
from ..modalities import MODALITIES, resolve
from ..pages.sheet import Card, is_page, write_sheet
from ..pages.things import PageExample, drawing, thing
from ..raw import Clips
from ..types import Embedder, Scores
from . import create
from .task import NotApplicableError, Task, is_classifier, main_labels

_COLUMNS = 4


def breakdown(scores: Scores) -> pl.DataFrame:
    """Return the metrics of a task by subset: a row for each, ``"all"`` first, with the number ``n`` of examples.

    For tasks on items a subset is a kind of item, so this is the table by type. The last row, ``chance``, is what
    guessing scores on all of them.
    """
    rows: list[dict[str, Any]] = [
        {
            "subset": subset,
            "n": len(scores.examples if subset == "all" else scores.examples.filter(subset=subset)),
            **{name: scores.value(name, subset) for name in scores.metrics},
        }
        for subset in scores.subsets()
    ]
    chance = {name: metric.chance for name, metric in scores.metrics.items()}
    return pl.DataFrame([*rows, {"subset": "chance", "n": None, **chance}]).fill_nan(None)


@dataclass(frozen=True)
class Exhibit:
    """One example as it is shown: what is drawn on an axis, what lies over it, and lines of text.

    On a page it is a thing of its modality, where it is of one.
    """

    draw: Callable[[Any], Any]
    lines: tuple[str, ...]
    outline: Bool[np.ndarray, "H W"] | None = None
    heat: Float[np.ndarray, "H W"] | None = None
    of: tuple[str, Any] | None = None

    def whole(self, axis: Any) -> None:
        """Draw the example and what lies over it."""
        self.draw(axis)
        if self.heat is not None:
            axis.imshow(self.heat, cmap="inferno", alpha=0.5)
        if self.outline is not None and 0 < self.outline.sum() < self.outline.size:
            axis.contour(self.outline, levels=[0.5], colors="cyan", linewidths=1)

    @property
    def card(self) -> Card:
        """The example on a page."""
        shown = PageExample("", drawing(self.whole)) if self.of is None else thing(*self.of)
        return Card([shown], self.lines)


def failures(
    scores: Scores, model: Embedder, data: Data, rows: Rows, path: str | Path, most: int = 12
) -> Path:
    """Show what a model got most wrong in a task: a picture, or a page that plays sounds and clips.

    Each subset in turn gives its worst example by the task's main metric, then the next; among equally bad ones
    that with the most negative ``margin`` first, where the task has one: what the model was surest about.

    Args:
        scores: what a task returned for the model on these rows.
        model: draws maps, where the task is about regions.
        data, rows: as they were given to the task.
        path: of the picture, ``.png``, or of the page, ``.html``, which opens offline.
        most: examples that are shown.

    Raises:
        UnknownNameError: for scores of a task that is not registered.
        NotApplicableError: for a task that has no outcome of single examples by which one of them would be the worst.
        ValueError: for a path with another ending.
    """
    write = _page if is_page(path := Path(path)) else _draw
    task = create(scores.task)
    main = next(iter(task.main_metrics(data)), "")
    metrics = [
        metric for metric in (scores.metrics.get(main), *scores.metrics.values()) if metric is not None
    ]
    single = ((m.columns, m.higher_is_better) for m in metrics if isinstance(m.columns, str))
    column, higher = next(single, ("", True))
    if task.draws or not column:
        raise NotApplicableError(
            f"failures of {task.name} are not drawn: no example is right or wrong by itself"
        )
    chosen = _worst(scores, column, higher, most)
    columns = {m.columns for m in metrics if m.higher_is_better and isinstance(m.columns, str)}
    form = task.form
    show = (
        _of_rows(data, _label_of(task, model, data))
        if form is None
        else _of_items(task, data.items(form, rows), columns, model, data)
    )
    exhibits = [show(example["example"], example) for example in chosen]
    title = f"{scores.task} on {data.name}: " + (
        f"{len(chosen)} failures, the surest first" if chosen else "no failures"
    )
    write(title, exhibits, data.attribution, path)
    return path


def _label_of(task: Task, model: Embedder, data: Data) -> str | None:
    """Return the label whose classes a task answers with: of several the first that there is, None of none."""
    labels: tuple[str, ...] = ()
    if "classifier" in task.asks and is_classifier(model):
        assert model.target is not None
        labels = (model.target.label,)
    elif task.label:
        labels = (task.label,)
    elif task.labels is not None:
        labels = main_labels(data, task.labels, task.kind)
    return next((name for name in labels if name in data.classes), None)


def _worst(scores: Scores, outcome: str, higher_is_better: bool, most: int) -> list[dict[str, Any]]:
    """Find examples that fell short of the best possible outcome, one of each subset in turn."""
    frame = scores.examples.drop_nulls(outcome)
    # The best outcome is 1 or 0 for shares and errors; of a score that goes further (CIDEr) the best that there is.
    best = float(frame[outcome].to_numpy().max(initial=1.0)) if higher_is_better else 0.0
    sign = 1 if higher_is_better else -1
    frame = frame.filter(sign * pl.col(outcome) < sign * best)
    margin = ("margin",) if "margin" in frame.columns else ()
    ranked = frame.sort(sign * pl.col(outcome), *margin, "example")
    turn = ranked.with_columns(turn=pl.int_range(pl.len()).over("subset"))
    return turn.sort("turn", maintain_order=True).head(most).to_dicts()


def _of_rows(data: Data, label: str | None) -> Callable[[int, dict[str, Any]], Exhibit]:
    """Return a function that shows a row, its text and what was taken for it; with ``label``, the two classes."""
    position = {int(key): row for row, key in enumerate(data.ids)}
    column = subject(data.columns) or ""
    # Outcomes are numbers of 53 bits, and ids of files have more.
    answers = {float(identity): row for identity, row in position.items()}
    text_column = words(data.columns)
    drawn = resolve(MODALITIES.get(data.columns[column]).draw)

    def called(row: int) -> str:
        at = np.array([row])
        return (
            data.read(text_column, at)[0]
            if text_column and data.present(text_column, at)[0]
            else data.key(row)
        )

    def show(example: int, outcomes: dict[str, Any]) -> Exhibit:
        row = position[example]
        lines = [f"[{outcomes['subset']}] {called(row)}"]
        if label is not None and outcomes.get("predicted") is not None:
            names, true = data.classes[label].names, int(data.classes[label].values[row])
            predicted = int(outcomes["predicted"])
            lines += [f"✓ {names[true]}", *([f"✗ {names[predicted]}"] if predicted != true else [])]
        first = next((it for name, it in outcomes.items() if name.endswith("_top") and it is not None), None)
        if first is not None:
            lines.append(f"✗ {called(answers[float(first)])}")
        at = np.array([row])
        if not data.present(column, at)[0]:
            return Exhibit(lambda axis: None, tuple(lines))
        seen = data.read(column, at)[0]
        draws = (lambda axis: None) if drawn is None else lambda axis: drawn(axis, seen)
        return Exhibit(draws, tuple(lines), of=(data.columns[column], seen))

    return show


def _of_items(
    task: Task, items: Items, columns: Set[str], model: Embedder, data: Data
) -> Callable[[int, dict[str, Any]], Exhibit]:
    position = {int(key): k for k, key in enumerate(items.ids)}

    def show(example: int, outcomes: dict[str, Any]) -> Exhibit:
        k = position[example]
        at, kind = np.array([k]), f"[{items.kinds[k]}]"
        if isinstance(items, MinimalPairs):
            pictures = [_pixels(picture) for picture in items.pictures(at)[0]]
            captions = (f"{side}: {caption}" for side, caption in zip("01", items.captions[k], strict=True))
            answered = " ".join(
                f"{name} {'✓' if outcomes[name] == 1 else '✗'}"
                for name in outcomes
                if name in columns and outcomes[name] in (0, 1)
            )
            return Exhibit(_picture(_side_by_side(pictures)), (kind, *captions, answered))
        if isinstance(items, Choices):
            options, answer = items.options[k], int(items.answers[k])
            lines = [f"✓ {options[answer]}", *_wrong_option(model, data, items, k)]
            return Exhibit(_picture(_pixels(items.pictures(at)[0])), (kind, *lines))
        if isinstance(items, ContrastCaptions):
            right, wrong = items.captions[k]
            return _of_frames(items.frames(at), (kind, f"✓ {right}", f"✗ {wrong}"))
        if isinstance(items, GeneratedVideos):
            taken = outcomes.get("predicted")
            lines = [items.captions[k]]
            if taken is not None:
                lines.append(f"✗ {sorted(set(items.kinds))[int(taken)]}")
            return _of_frames(items.frames(at), (kind, *lines))
        if isinstance(items, Narrations):
            right = items.options[k][int(items.answers[k])]
            lines = [f"“{items.narrations[k]}”", items.questions[k], f"✓ {right}"]
            return _of_frames(items.frames(at), (kind, *lines))
        if isinstance(items, QuestionVariants):
            return _of_variants(task, items, k)
        if isinstance(items, TwinItems):
            return _of_rows(data, None)(int(data.ids[items.rows[k]]), outcomes)
        if isinstance(items, Questions):
            question = items.questions[k]
            return Exhibit(
                _picture(_pixels(items.pictures(at)[0])), (kind, question.text, f"✓ {question.answer}")
            )
        assert isinstance(items, Regions)
        return _map(items, k, model, data)

    return show


def _of_frames(frames: UInt8[Tensor, "1 T 3 H W"], lines: tuple[str, ...]) -> Exhibit:
    """Show the frames of a video side by side, on a page one after another."""
    return Exhibit(_picture(_pixels(sheet(frames)[0])), lines, of=("video", Clips.of([frames[0].numpy()])[0]))


def _of_variants(task: Task, items: QuestionVariants[Any], k: int) -> Exhibit:
    """Show an item as it is, and in the variant that counts, or the first that was asked."""
    from .tasks.vlb import VANILLA, VLB, bootstrap

    assert isinstance(task, VLB)
    names, edition = task.variants.names, task.variants.edition
    variant = task.primary if task.primary in names else next(iter(names), VANILLA)
    before, (after, _) = items.sample(k), bootstrap(items, k, variant, edition=edition)
    lines = (f"[{items.kinds[k]}, {variant}]", after.question.text, f"✓ {after.question.answer}")
    return Exhibit(_picture(_side_by_side([_pixels(before.picture), _pixels(after.picture)])), lines)


def _wrong_option(model: Embedder, data: Data, items: Choices, k: int) -> list[str]:
    """Return the wrong option that is most similar to the picture, as a line of text."""
    features = EmbeddingCache.of(model, data)
    picture = features.pictures(items.pictures(np.array([k])))
    near = features.similarity(picture, features.texts(items.options[k]))[0].clone()
    near[int(items.answers[k])] = -torch.inf
    return [f"✗ {items.options[k][int(near.argmax())]}"]


def _map(items: Regions, k: int, model: Embedder, data: Data) -> Exhibit:
    from .maps import centre_square, maps_of

    features, at = EmbeddingCache.of(model, data), np.array([k])
    mask = centre_square(items.masks(at))
    pictures = items.pictures(at)
    side, lines = mask.shape[1], (f"[{items.kinds[k]}]", items.phrases[k])
    top, left = ((length - side) // 2 for length in pictures.shape[2:])
    square = pictures[0, :, top : top + side, left : left + side]
    try:
        heat = maps_of(features, pictures, [items.phrases[k]], (side, side), "a picture of failures")[0]
    except NotApplicableError:
        return Exhibit(_picture(_pixels(square)), lines, mask[0].numpy())
    return Exhibit(_picture(_pixels(square)), lines, mask[0].numpy(), heat.numpy())


def _pixels(picture: torch.Tensor) -> np.ndarray:
    return picture.permute(1, 2, 0).numpy()


def _picture(pixels: np.ndarray) -> Callable[[Any], Any]:
    return lambda axis: axis.imshow(pixels)


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((pictures[0].shape[0], max(pictures[0].shape[1] // 16, 1), 3), 255, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def _page(title: str, exhibits: Sequence[Exhibit], attribution: str, path: Path) -> None:
    write_sheet(path, title, {"": [it.card for it in exhibits]}, attribution, "counterpoint evaluate")


def _draw(title: str, exhibits: Sequence[Exhibit], attribution: str, path: Path) -> None:
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, max(1, len(exhibits)))
    lines = max(1, -(-len(exhibits) // columns))
    credit = textwrap.fill(attribution, 60 * columns)
    foot = 0.2 + 0.1 * len(credit.splitlines())
    height = 3.2 * lines + 0.3 + foot  # inches: a line of examples each, the title, the attribution
    figure = Figure(figsize=(3.0 * columns, height))
    axes = figure.subplots(lines, columns, squeeze=False).flatten()
    figure.subplots_adjust(
        left=0.02, right=0.98, bottom=foot / height, top=1 - 1.2 / height, wspace=0.05, hspace=0.5
    )
    for axis in axes:
        axis.set_axis_off()
    for axis, exhibit in zip(axes, exhibits, strict=False):
        exhibit.whole(axis)
        text = "\n".join(textwrap.fill(textwrap.shorten(line, 120), 44) for line in exhibit.lines)
        axis.set_title(_without_mathematics(text), fontsize=7, loc="left")
    figure.suptitle(textwrap.fill(_without_mathematics(title), 42 * columns), fontsize=9)
    if credit:
        figure.supxlabel(credit, fontsize=6)
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=110)


def _without_mathematics(text: str) -> str:
    return text.replace("$", r"\$")  # else matplotlib would typeset what lies between two of them
