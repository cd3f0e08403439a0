"""The properties of a task."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, ClassVar, Literal
from zlib import crc32

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from polars.testing import assert_frame_equal
from torch import Tensor, nn

from ..data.base import Data, Rows, Splits
from ..data.pictured import PairedData
from ..data.source import load_any
from ..evaluation import STATISTICS, RunResults, Task, create, evaluate
from ..evaluation.statistic import name_of
from ..evaluation.task import ModelKind, NotApplicableError, check_data
from ..networks.regions import pool_boxes
from ..study.scored import limits
from ..types import Prompt, Scores, Target
from ._checks import Checks, expect, expect_error, run_checks

_SIZES = "train=60,validation=2,test=16"
DATA = (
    f"scenes:basic,pixels=24,{_SIZES}",
    f"scenes:counts,pixels=24,{_SIZES}",
    f"scenes:cooccurrence,pixels=24,{_SIZES}",
    f"clips:narrated,pixels=16,frames=6,{_SIZES},as=pictures",
    f"speech:short,pixels=24,{_SIZES}",
    f"clips:sounding,pixels=16,frames=6,{_SIZES}",
    f"glosses:graded,{_SIZES}",
    f"scenes:basic,pixels=24,{_SIZES},talk=questions+captions",
    f"scenes:basic,pixels=24,{_SIZES},talk=captions,albums=collage2",
    f"clips:long,pixels=16,{_SIZES}",
)
"""Synthetic data, of which the first serves that has what a task asks about."""
_INCOMPLETE = "scenes:spurious,pixels=24,train=96,test=48,missing=image:0.3"
_ROWS = 12


class RandomEmbedder:
    """An embedder without training, for any pictures, places of pictures, clips, sounds, texts and conversations.

    Pictures are embedded by a random projection of 8 × 8 pixels, texts by a bag of hashed words.
    """

    heads: tuple[str, ...] = ("global",)
    joint_columns = ("image+talk",)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._image = torch.randn(3 * 8 * 8, 16, generator=generator)
        self._words = torch.randn(97, 16, generator=generator)

    def embed(self, modality: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings."""
        if modality == "video":
            return self.embed("image", inputs.frames[:, 0], head)
        if modality == "image+talk":
            requests = [row[-1].request for row in inputs["talk"]]
            both = self.embed("image", inputs["image"]) + self.embed("text", requests)
            return F.normalize(both, dim=-1)
        if modality == "transcript":
            return self.embed("text", [" ".join(it.text for it in row.sentences) for row in inputs])
        if modality == "talk":
            return self.embed("text", [row[-1].reply for row in inputs])
        if modality == "audio":
            features = F.adaptive_avg_pool1d(inputs.samples.abs(), len(self._words)) @ self._words
        elif modality == "image":
            features = F.interpolate(inputs.float() / 255 - 0.5, size=8, mode="area").flatten(1) @ self._image
        else:
            bags = [[sum(map(ord, word)) % 97 for word in text.split()] for text in inputs]
            features = torch.stack([self._words[bag].sum(0) for bag in bags])
        return F.normalize(features, dim=-1)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Return cosines."""
        return a @ b.T

    def transcribe(self, sounds: Any) -> list[str]:
        """Return the same words for every sound."""
        return ["a red cat" for _ in range(len(sounds))]

    def caption(self, pictures: Any, **options: Any) -> list[str]:
        """Return the same words for every picture."""
        return ["a red cat" for _ in range(len(pictures))]

    def name_sentences(self, pictures: Any, sentences: Sequence[str]) -> list[list[int]]:
        """Return the first two sentences for every picture."""
        return [[*range(min(2, len(sentences)))] for _ in range(len(pictures))]

    def log_likelihood(self, pictures: Any, captions: Sequence[str]) -> Tensor:
        """Return a likelihood by the lengths of words, less of one without a picture."""
        words = [caption.split() for caption in captions]
        factor = 0.5 if pictures is None else 0.25
        return torch.tensor([[-factor * sum(map(len, of_one)), len(of_one)] for of_one in words])

    pictures: ClassVar = ("image",)

    def log_likelihood_of_words(
        self, pictures: Sequence[Tensor | None], exchanges: Sequence[Any]
    ) -> list[Tensor]:
        """Return likelihoods by the lengths of words, less of one without a picture, and one of the end."""
        factors = [0.5 if picture is None else 0.25 for picture in pictures]
        words = [[len(word) for word in exchange.reply.split()] for exchange in exchanges]
        return [-factor * torch.tensor([*of, 1.0]) for factor, of in zip(factors, words, strict=True)]

    def judge(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Tensor]:
        """Return probabilities by the lengths of words, more of long ones."""
        return [1 - 1 / torch.tensor([1.0 + len(word) for word in reply.split()]) for reply in replies]

    def key_scores(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the brightness of frames, and scores by the lengths of sentences."""
        clips = inputs["video"]
        behind = torch.arange(clips.frames.shape[1]) >= clips.lengths[:, None]
        bright = clips.frames.float().mean((2, 3, 4)).masked_fill(behind, torch.nan)
        said = [torch.tensor([float(len(it.text)) for it in row.sentences]) for row in inputs["transcript"]]
        padded = nn.utils.rnn.pad_sequence(said, batch_first=True, padding_value=torch.nan)
        return {"video": bright, "transcript": padded}

    def find_moments(self, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return three spans by the lengths of queries, and the brightness of frames."""
        lengths = torch.tensor([float(len(text)) for text in inputs["text"]])[:, None]
        starts = (lengths * torch.tensor([0.1, 0.2, 0.3])) % 0.5
        spans = torch.stack([starts, starts + 0.3, starts], -1)
        bright = inputs["video"].frames.float().mean((2, 3, 4))
        behind = torch.arange(bright.shape[1]) >= inputs["video"].lengths[:, None]
        return spans, bright.masked_fill(behind, torch.nan)

    def match(self, pictures: Tensor, maps: Tensor, *, own: bool = False) -> Tensor:
        """Return inner products of the mean colours of objects; −∞ where one is missing."""
        count = max(int(maps.max()), 1)
        masks = (maps[:, :, None] == torch.arange(1, count + 1)[:, None, None]).flatten(3).float()
        shown = (pictures.flatten(3).float() / 255 - 0.5) ** (3 if own else 1)
        colours = masks @ shown.mT / masks.sum(3, keepdim=True).clamp_min(1)
        there = masks.any(3)
        scores = colours[:, 0] @ colours[:, 1].mT
        return scores.masked_fill(~(there[:, 0, :, None] & there[:, 1, None]), -torch.inf)

    def embed_patches(self, pictures: Tensor, head: str = "default") -> Tensor:
        """Return embeddings of the quarters of pictures."""
        side = pictures.shape[-1] // 2
        quarters = pictures.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5)
        embedded = self.embed("image", quarters.flatten(0, 2).contiguous())
        return embedded.view(len(pictures), 2, 2, -1).permute(0, 3, 1, 2)

    def embed_regions(
        self, pictures: Tensor, boxes: Tensor, head: str = "default", side: int | None = None
    ) -> Tensor:
        """Return embeddings of boxes: means of those of the quarters."""
        return F.normalize(pool_boxes(self.embed_patches(pictures, head), boxes), dim=-1)

    def teacher_features(self, pictures: Tensor, side: int | None = None) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the embeddings of pictures, and as a teacher's those of mirrored ones."""
        one, other = (self.embed("image", shown)[:, None] for shown in (pictures, pictures.flip(-1)))
        return {"summary": (one, other)}


class RandomClassifier(RandomEmbedder):
    """A model that names classes by chance, of whatever of pictures and captions there is."""

    columns: ClassVar = {"image": "image", "text": "text"}
    incomplete: Literal["drop", "use"] = "use"
    shares_space = False

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target: Target | None = target

    def classify(self, inputs: Mapping[str, Any], present: Any = None) -> Tensor:
        """Return random probabilities of the classes, which follow from the inputs."""
        assert self.target is not None
        seeds = np.zeros(len(next(iter(present.values()))), dtype=np.int64)
        for column, raw in inputs.items():
            of_raw = [crc32(one.encode() if isinstance(one, str) else one.numpy().tobytes()) for one in raw]
            seeds[present[column]] += np.array(of_raw)
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        return torch.stack([torch.rand(len(self.target.classes), generator=g) for g in generators]).softmax(1)

    def renamed(self, names: Sequence[str]) -> RandomClassifier:
        """Return the model for other classes."""
        assert self.target is not None
        return RandomClassifier(replace(self.target, classes=tuple(names)))


class RandomAssistant:
    """A model that replies by chance, as the prompt and the seed say."""

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        """Return yes, or some words, for each prompt."""
        return ["yes" if _random(prompt, seed=seed) < 0.5 else "a red cat" for prompt in prompts]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        """Return a random logit of each word for each prompt."""
        return torch.tensor([[_random(prompt, word) for word in words] for prompt in prompts])


def _random(prompt: Prompt, word: str = "", seed: int = 0) -> float:
    shown = b"" if prompt.picture is None else prompt.picture.numpy().tobytes()
    return random.Random(f"{prompt.text}{shown!r}{word}{seed}").random()


class RandomPainter:
    """A painter of one new word that draws and attends by chance, as texts, seeds and pictures say."""

    words = ("<one>",)

    def draw(self, texts: Sequence[str], *, seeds: Sequence[int] | None = None, **options: object) -> Tensor:
        """Return random pictures."""
        named = zip(texts, seeds or range(len(texts)), strict=True)
        generators = [torch.Generator().manual_seed(crc32(f"{text}{seed}".encode())) for text, seed in named]
        return torch.stack([torch.rand(3, 8, 8, generator=generator) for generator in generators])

    def attention_of_words(self, pictures: Tensor) -> Tensor:
        """Return random maps."""
        generators = [torch.Generator().manual_seed(crc32(it.numpy().tobytes())) for it in pictures]
        return torch.stack([torch.rand(1, 4, 4, generator=generator) for generator in generators])


class SamplePairs(PairedData):
    """Pictures and captions alone, without labels and items."""

    name = "pairs"

    def __init__(self) -> None:
        self.ids = 1000 + 3 * np.arange(40)
        rows = np.arange(40)
        self.splits = Splits(rows[:20], {"some": rows[20:24]}, {"some": rows[24:]})
        generator = torch.Generator().manual_seed(0)
        self._pictures = torch.randint(0, 256, (40, 3, 24, 24), dtype=torch.uint8, generator=generator)

    def images(self, rows: Rows) -> Tensor:
        """Return the pictures of some rows."""
        return self._pictures[torch.from_numpy(np.asarray(rows))]

    def captions(self, row: int) -> Sequence[str]:
        """Return the captions of a row."""
        return (f"picture {row}", f"a picture with the number {row}")


@cache
def _loaded(source: str | Data) -> Data:
    return load_any(source) if isinstance(source, str) else source


@dataclass(frozen=True)
class TaskCase:
    """A task with what its checks need, for `check_task`.

    Attributes:
        task: a registered name, a class, or a function that returns the task.
        data: of which the first serves that has what the task asks about: `Data`, or names as ``--data`` takes them.
        asked: the kind of model that is asked, where the task can ask several; the first unless given.
    """

    task: str | Callable[[], Task]
    data: Sequence[str | Data] = DATA
    asked: ModelKind | None = None

    def __str__(self) -> str:
        return self.task if isinstance(self.task, str) else getattr(self.task, "__name__", repr(self.task))

    def build(self) -> Any:
        """Return a new task, so that nothing is kept of earlier calls."""
        return create(self.task) if isinstance(self.task, str) else self.task()

    def model(self, data: Data, asked: ModelKind | None = None) -> Any:
        """Return a model without knowledge of the kind that is asked."""
        asked = asked or self.asked or self.build().asks[0]
        if asked == "classifier":
            classes = {name: label.names for name, label in data.classes.items()} or {"size": ("s", "l")}
            return RandomClassifier(Target(*next(iter(classes.items()))))
        if asked == "painter":
            return RandomPainter()
        return RandomEmbedder() if asked == "embedder" else RandomAssistant()

    def score(self, data: Data, rows: Rows) -> Scores:
        """Return the scores of a new model by a new task."""
        return self.build()(self.model(data), data, rows)

    def score_or_refuse(self, data: Data, rows: Rows) -> Scores | ValueError:
        """Return the scores, or the refusal, which names the task or the data."""
        try:
            return self.score(data, rows)
        except ValueError as reason:
            if self.build().name in str(reason) or data.name in str(reason):
                return reason
            raise

    @cached_property
    def scored(self) -> tuple[Data, Rows, Scores]:
        """Data that the task has something to ask about, some rows of it, and their scores.

        Raises:
            ValueError: if none of the data serves; the message says why of each.
        """
        reasons = []
        for source in self.data:
            data = _loaded(source)
            rows = next(iter(data.splits.test.values()))[:_ROWS]
            try:
                return data, rows, self.score(data, rows)
            except ValueError as reason:
                reasons.append(f"{data.name}: {reason}")
        raise ValueError(
            "\n".join([f"give data= that {self} can ask about; none of these serves:", *reasons])
        )


def check_task(task: str | Callable[[], Task] | TaskCase, **settings: Any) -> None:
    """Check every property of a task, on synthetic data and models without knowledge.

    >>> check_task("retrieval")

    Args:
        task: a registered name, a class, a function that returns the task, or a `TaskCase`.
        settings: attributes of `TaskCase`.

    Raises:
        ConformanceError: if a property does not hold; it lists all of them.
        ValueError: if none of the data serves.
    """
    case = task if isinstance(task, TaskCase) else TaskCase(task, **settings)
    run_checks(str(case), task_checks(case))


def task_checks(task: str | Callable[[], Task] | TaskCase, **settings: Any) -> Checks:
    """Yield the properties of a task, each with its check; the arguments are those of `check_task`."""
    case = task if isinstance(task, TaskCase) else TaskCase(task, **settings)
    asked = case.asked or case.build().asks[0]
    checks: dict[str, Callable[[TaskCase], None]] = {
        "facts": _facts,
        "main metrics": _main_metrics,
        "examples": _examples,
        "statistics": _statistics,
        "numbers from examples": _numbers,
        "order of the rows": _order,
        "no rows": _no_rows,
        "one row": _one_row,
        "pairs alone": _pairs_alone,
        "evaluate": _evaluate,
        "other models": _other_models,
    }
    if asked == "embedder" and case.build().form is None:  # items are about pictures of their own
        checks["missing pictures"] = _missing
    for name, check in checks.items():
        yield name, partial(check, case)


def _facts(case: TaskCase) -> None:
    task = case.build()
    expect(isinstance(task, Task), "a subclass of Task", type(task).__name__)
    expect(getattr(task, "name", ""), "a name", "none")
    known = {"embedder", "assistant", "classifier", "painter"}
    expect(task.asks and {*task.asks} <= known, f"asks, of {sorted(known)}", task.asks)
    expect(task.modalities or "embedder" not in task.asks, "the modalities that are embedded", "none")


def _main_metrics(case: TaskCase) -> None:
    data, _, scores = case.scored
    task = case.build()
    main = task.main_metrics(data)
    expect(main and {*main} <= {*scores.metrics}, f"main metrics of {sorted(scores.metrics)}", main)
    expect(scores.task == task.name, f"scores of the task {task.name}", scores.task)
    for name, metric in scores.metrics.items():
        columns = scores.examples.columns
        expect({*metric.names} <= {*columns}, f"{name} from columns of {columns}", metric.names)
        finite = metric.chance is None or np.isfinite(metric.chance)
        expect(finite, f"a finite chance level of {name}, or None", metric.chance)


def _examples(case: TaskCase) -> None:
    examples = case.scored[2].examples
    ids = examples["example"]
    expect(
        ids.dtype == pl.Int64 and ids.is_unique().all(),
        "distinct whole numbers as ids of examples",
        ids.dtype,
    )
    expect(examples["subset"].null_count() == 0, "a subset of every example", "null")
    numbers = examples.drop("example", "subset")
    expect({*numbers.dtypes} == {pl.Float64}, "outcomes of the type Float64", numbers.dtypes)
    wrong = [c.name for c in numbers if not c.drop_nulls().is_finite().all()]
    expect(not wrong, "finite outcomes, null where they do not apply", f"others in {', '.join(wrong)}")


def _statistics(case: TaskCase) -> None:
    for name, metric in case.scored[2].metrics.items():
        statistic = STATISTICS[name_of(metric.statistic)]
        several = isinstance(metric.columns, str) != bool(statistic.columns)
        takes = several and statistic.takes((len(metric.columns),) if statistic.columns else ())
        expect(takes, f"as many columns of {name} as its statistic takes", metric.columns)


def _numbers(case: TaskCase) -> None:
    # From the long table of a run's folder, with columns side by side.
    results = RunResults({"test": (case.scored[2],)})
    table = results.examples().sample(fraction=1, shuffle=True, seed=0)
    for row in results.scores():
        statistic, metric = STATISTICS[row["statistic"]], row["metric"]
        chosen = table.filter(pl.col("outcome").is_in(row["columns"]))
        chosen = chosen if row["subset"] == "all" else chosen.filter(subset=row["subset"])
        wide = chosen.pivot(on="outcome", index="example", values="value").drop_nulls()
        values = wide.select(row["columns"]).to_numpy()
        value = statistic(values if statistic.columns else values[:, 0])
        expect(len(values) == row["n"], f"{row['n']} examples of {metric}", len(values))
        expect(abs(value - row["value"]) <= 1e-12, f"{metric} = {row['value']} from its examples", value)
        for least, most in filter(None, [(statistic.least, statistic.most), limits(row["bounds"])]):
            expect(least <= value <= most, f"{metric} between {least} and {most}", value)


def _same_examples(measured: pl.DataFrame, expected: pl.DataFrame, what: str, **options: Any) -> None:
    try:
        assert_frame_equal(measured, expected, **options)
    except AssertionError as error:
        expect(False, what, error)


def _order(case: TaskCase) -> None:
    data, rows, scores = case.scored
    other = case.score(data, np.random.default_rng(0).permutation(rows))
    a, b = other.examples.sort("example"), scores.examples.sort("example")
    what = "the same outcomes of rows in another order"
    _same_examples(a, b, what, check_column_order=False, abs_tol=1e-5)
    for metric, definition in scores.metrics.items():
        same = np.isclose(other.value(metric), scores.value(metric), rtol=1e-6, atol=1e-5, equal_nan=True)
        expect(same, f"{metric} = {scores.value(metric)} of rows in another order", other.value(metric))
        chances = [
            float("nan") if it.chance is None else it.chance for it in (other.metrics[metric], definition)
        ]
        same = np.isclose(chances[0], chances[1], rtol=1e-6, atol=1e-12, equal_nan=True)
        expect(same, f"the chance level {chances[1]} of {metric} again", chances[0])


def _no_rows(case: TaskCase) -> None:
    data, rows, _ = case.scored
    refusal = case.score_or_refuse(data, rows[:0])
    hint = "call counterpoint.evaluation.task.check_rows first"
    expect(isinstance(refusal, ValueError), "a ValueError without rows", "scores", hint)


def _one_row(case: TaskCase) -> None:
    data, rows, scores = case.scored
    one = case.score_or_refuse(data, rows[:1])
    if isinstance(one, Scores):
        other = {*one.examples["example"]} - {*scores.examples["example"]}
        expect(not other, "the example of the row", f"others: {sorted(other)}")
        for metric in one.metrics:
            nothing = len(one.rows(metric)) == 0
            expect(
                np.isnan(one.value(metric)) == nothing,
                f"NaN of {metric} only without rows",
                one.value(metric),
            )


def _pairs_alone(case: TaskCase) -> None:
    data, task = SamplePairs(), case.build()
    result = case.score_or_refuse(data, data.splits.test["some"])
    needs = task.labels is not None or task.form is not None
    if (case.asked or task.asks[0]) == "embedder" and needs:
        with expect_error("data without labels and items, by check_data"):
            check_data(task, data)
    if isinstance(result, Scores):
        expect(not needs, "NotApplicableError for data without labels and items", "scores")
        expect(len(result.examples), "examples of pairs", "none")
    else:
        expect(
            isinstance(result, NotApplicableError),
            "NotApplicableError for data that do not serve",
            type(result).__name__,
        )


def _evaluate(case: TaskCase) -> None:
    data, rows, scores = case.scored
    task: Any = case.task if isinstance(case.task, str) else case.build()
    (again,) = evaluate(case.model(data), data, [task], {"some": rows}).by_test["some"]
    _same_examples(again.examples, scores.examples, "the same outcomes by evaluate()")
    main = case.build().main_metrics(data)
    expect(again.main == main, f"the main metrics {main}", again.main)
    for metric in scores.metrics:
        same = np.array_equal(again.value(metric), scores.value(metric), equal_nan=True)
        expect(same, f"{metric} = {scores.value(metric)} again", again.value(metric))
        chances = again.metrics[metric].chance, scores.metrics[metric].chance
        expect(chances[0] == chances[1], f"the chance level {chances[1]} of {metric} again", chances[0])


def _other_models(case: TaskCase) -> None:
    data, rows, _ = case.scored
    kinds: tuple[ModelKind, ...] = ("embedder", "assistant")
    others = [kind for kind in kinds if kind not in case.build().asks]
    task: Any = case.task if isinstance(case.task, str) else case.build()
    for other in others:
        with expect_error(f"a model that is an {other}"):
            evaluate(case.model(data, other), data, [task], {"some": rows})


def _missing(case: TaskCase) -> None:
    data = _loaded(_INCOMPLETE)
    rows = next(iter(data.splits.test.values()))
    try:
        scores = case.score(data, rows)
    except NotApplicableError:
        return
    missing = pl.Series(data.ids[rows[~data.present("image", rows)]])
    for metric in scores.metrics:
        scored = scores.examples["example"].gather(scores.rows(metric)).is_in(missing.implode()).any()
        expect(not scored, f"{metric} of rows that have a picture", "rows whose picture is missing")
