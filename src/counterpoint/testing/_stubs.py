"""Towers of a few numbers, batches for them, and raw examples: what the checks of methods run on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.views.captions import masked_words
from ..frames import of_boxes
from ..methods import Needs
from ..methods.tower_method import TowerMethod
from ..modalities import PAIR
from ..networks import ImageTower, TextTower, Tower, initialise
from ..networks.towers.boxes import BoxPerceptron
from ..networks.towers.chat import Chat
from ..networks.towers.embedder import PromptedText
from ..networks.towers.language import Llama
from ..networks.towers.maps import MapPatches, MapSquare
from ..networks.towers.perceptron import BagOfWords
from ..networks.towers.sentences import SentencesTower, SentenceTokens
from ..networks.towers.series import SeriesTower, Standardised
from ..networks.towers.sound import SoundTower
from ..networks.towers.table import Cells, ColumnStatistics, TablePerceptron
from ..networks.towers.video import FramesTower
from ..raw import Boxes, Clips, Exchange, Maps, Sentence, Series, Subtitles, Waves, ends
from ..recipes.schema import Recipe, Towers, Widths
from ..types import Batch, Kind, StepInfo, Target

SIZE = 8
LATE = StepInfo(1000, 2000)
"""A moment when nothing is held back any more."""
RECIPE = Recipe(
    widths=Widths(
        embedding=8,
        local_hidden=16,
        ssl_hidden=16,
        ssl_output=8,
    ),
    towers=Towers(image_size=SIZE),
)
FIVE = Target("group", ("a", "b", "c", "d", "e"))
TAGS = Target("tags", ("red", "green", "blue"), "tags")
NUMBER = Target("number", (), "numbers")
TIMELINE = Target("key_frames", (), "timelines")
OF_KIND: dict[Kind, Target] = {"classes": FIVE, "tags": TAGS, "numbers": NUMBER, "timelines": TIMELINE}
"""Labels of `batch` that methods learn from, by kind; points are learned beside another label, as ``click``."""
_WORDS = ["a", "small", "red", "cat", "runs", "over", "the", "old", "green", "hill"]


def _said(count: int, first: int) -> Subtitles:
    """Return a transcript of so many sentences of one second."""
    words = [" ".join(_WORDS[(first + k) % 7 : (first + k) % 7 + 3]) for k in range(count)]
    return Subtitles(tuple(Sentence(k, k + 1.0, text) for k, text in enumerate(words)), float(max(count, 1)))


INPUTS: dict[str, Any] = {
    "image": torch.randint(
        0, 256, (6, 3, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    ),
    "text": [" ".join(_WORDS[k : k + 4]) for k in range(6)],
    "talk": [(Exchange("what runs?", " ".join(_WORDS[k : k + 3])),) for k in range(6)],
    "audio": Waves.of(list(torch.randn(6, 40, generator=torch.Generator().manual_seed(1)).numpy()), 8000),
    "series": Series(torch.randn(6, 40, 3, generator=torch.Generator().manual_seed(1))),
    "map": Maps(
        torch.randint(0, 4, (6, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
        ("background", "cat", "dog", "car"),
    ),
    "video": Clips(
        torch.randint(
            0, 256, (6, 4, 3, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
        ),
        torch.tensor([4, 3, 4, 1, 2, 4]),
    ),
    "transcript": [_said(1 + k % 3, k) for k in range(6)],
    "boxes": Boxes(
        torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(1)).sort(2).values.flatten(2)
    ),
}
"""Raw examples by modality."""
BEHIND = ("shown", "false")
"""Columns behind a pair, by which of the pair they are like."""
CELLS = ("first", "second", "third", "fourth")
"""Columns of numbers of the tables here."""


class WordTokenizer:
    """A tokenizer: a word's id is the sum of its letters; no two of the words in use here share one."""

    context, vocabulary, end = 6, 64, 63

    def __call__(self, captions: Sequence[str]) -> Tensor:
        ids = [
            [*(1 + sum(map(ord, word)) % 61 for word in caption.split()[: self.context - 1]), self.end]
            for caption in captions
        ]
        longest = max(map(len, ids), default=0)
        return torch.tensor([i + [0] * (longest - len(i)) for i in ids])

    def too_long(self, captions: Sequence[str]) -> Tensor:
        return torch.tensor([len(caption.split()) >= self.context for caption in captions])


class StubImage(ImageTower):
    """A linear layer on the pixels."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.width, self.size = width, SIZE
        self.linear = nn.Linear(3 * SIZE * SIZE, width)
        self.calls: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        if images.shape[-1] != SIZE:
            images = F.interpolate(images, (SIZE, SIZE))
        return torch.tanh(self.linear(images.flatten(1)))

    def patches(self, images: Tensor) -> Tensor:
        """Return the features of two places: each half of the picture, the other half black."""
        if images.shape[-1] != SIZE:
            images = F.interpolate(images, (SIZE, SIZE))
        lower = torch.arange(SIZE)[:, None] >= SIZE // 2
        halves = [torch.tanh(self.linear((images * half).flatten(1))) for half in (~lower, lower)]
        return torch.stack(halves, -1)[..., None]


class StubText(TextTower):
    """The mean of word vectors, and a linear layer."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width, self.tokenizer = width, WordTokenizer()
        self.words = nn.Embedding(WordTokenizer.vocabulary, width)
        self.linear = nn.Linear(width, width)
        self.dropouts: list[float] = []

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        self.dropouts.append(dropout)
        mean = F.dropout(self.words(tokens), dropout, self.training).mean(1)
        return torch.tanh(self.linear(mean))

    def states(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        """Return the features of the words by themselves."""
        return torch.tanh(self.linear(self.words(tokens))) * (tokens > 0)[..., None]


class StubReader(StubText):
    """`StubText` with a vector of the mask token."""

    masks_words = True

    def __init__(self, width: int = 10) -> None:
        super().__init__(width)
        self.words = nn.Embedding(WordTokenizer.vocabulary + 1, width)


class StubSound(SoundTower):
    """A linear layer on windows of four samples, read as the mean of its states."""

    rate, seconds = 8000, 0.01

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(4, width)

    def states(self, sounds: Tensor) -> Tensor:
        windows = sounds.nan_to_num(0.0).unfold(1, 4, 4)
        own = torch.arange(windows.shape[1]) < (ends(sounds)[:, None] + 3) // 4
        return torch.tanh(self.linear(windows)) * own[..., None]

    def forward(self, sounds: Tensor) -> Tensor:
        states = self.states(sounds)
        return states.sum(1) / (states != 0).any(-1).sum(1, keepdim=True)


class StubSeries(SeriesTower):
    """A linear layer on the mean, over the steps that there are, of a few functions of them."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width, self.standardised = width, Standardised(1000, (), [0.0] * 3, [1.0] * 3)
        self.linear = nn.Linear(6, width)

    def forward(self, series: Tensor) -> Tensor:
        both = torch.cat([series.sin(), series.cos()], 2)
        return torch.tanh(self.linear(both.nanmean(1)))


def columns_for(needs: Needs) -> dict[str, str]:
    """Return columns that suit a method, each with its modality."""
    if needs.only:
        return {f"{needs.only} {k}": needs.only for k in range(1, 4)}
    # Those of pictures and texts unless the method is about others, or about more.
    if needs.more or set(needs.modalities) - set(PAIR):
        of = (*needs.modalities, needs.more) if needs.more else needs.modalities
        before = [of[:k].count(it) for k, it in enumerate(of)]
        return {f"{it} {count + 1}" if count else it: it for it, count in zip(of, before, strict=True)}
    if needs.further:
        pair = list(PAIR.values())
        return {**PAIR, **{BEHIND[k]: pair[k] for k in reversed(needs.further)}}
    return {**PAIR, "audio": "audio"} if needs.least > len(PAIR) else dict(PAIR)


def stub_table() -> Tower:
    """Return a tower of tables of `CELLS`."""
    return TablePerceptron(Cells([ColumnStatistics(name=name) for name in CELLS]))


@cache
def _chat() -> Chat:
    return Chat.fit([INPUTS["talk"]], vocabulary=280, context=24)


def stub_talk(seed: int = 0) -> Tower:
    """Return a language model that knows the words of `INPUTS`, with weights from a seed."""
    return Llama(_chat(), width=8, layers=2, seed=seed)


def stub_map() -> Tower:
    """Return a tower of maps of the classes of `INPUTS`."""
    return MapPatches(MapSquare(SIZE, classes=INPUTS["map"].classes))


@cache
def _sentences() -> SentenceTokens:
    return SentenceTokens.fit(INPUTS["transcript"], vocabulary=280, context=12)


def stub_transcript() -> Tower:
    """Return a tower of transcripts that knows the words of `INPUTS`."""
    return SentencesTower(BagOfWords(_sentences().tokenizer, width=10), _sentences())


def stub_video() -> Tower:
    """Return a tower of clips of four frames, a linear layer on the pixels of each."""
    return FramesTower(StubImage(), frames=4, ordered=False)


def stub_text(kind: Any) -> TextTower:
    """Return a tower of texts for a method, which knows the mask token where the method asks for that."""
    return StubReader() if "masks_words" in getattr(kind, "asks", {}).values() else StubText()


def stub_towers(reads: dict[str, str], seed: int = 0, kind: Any = None) -> dict[str, Tower]:
    """Return towers of columns, one for each modality, with weights from a seed, for a class of methods."""
    towers: list[Tower] = [StubImage(), stub_text(kind), StubSound(), StubSeries(), stub_table()]
    if "map" in reads.values():
        towers.append(stub_map())
    if "boxes" in reads.values():
        towers.append(BoxPerceptron())
    if "talk" in reads.values():
        towers.append(stub_talk(seed))
    if "video" in reads.values():
        towers.append(stub_video())
    if "transcript" in reads.values():
        towers.append(stub_transcript())
    by_modality = {tower.modality: tower for tower in towers}
    if other := set(reads.values()) - set(by_modality):
        raise ValueError(f"there is no small tower of {', '.join(sorted(other))}: give towers=")
    return ready({column: by_modality[modality] for column, modality in reads.items()}, seed)


def ready(towers: dict[str, Tower], seed: int) -> dict[str, Tower]:
    """Return towers with weights from a seed, which the start of a method leaves as they are."""
    for column, tower in towers.items():
        initialise(tower, seed, column)
        tower.weights_set = True
    return towers


def begun(method: Any, seed: int) -> Any:
    """Return a method with weights from a seed, as in the stage that a run ends in."""
    initialise(method, seed)
    for name, parameter in method.named_parameters() if method.stages else ():
        parameter.requires_grad_(parameter.requires_grad and name.startswith(method.stages[-1].moves))
    if hasattr(method, "begin_task"):
        method.begin_task()  # in the first there is no previous model, and nothing for its predictor to learn
    return method


def loaded(method: TowerMethod, size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """Return a random batch as a loader has it."""
    generator = torch.Generator().manual_seed(seed)
    views: dict[str, Tensor] = {}
    for name, view in method.views.items():
        tower = method.tower(view.column)
        if getattr(tower, "features", False):  # a tower whose input is its output
            views[name] = torch.randn(size, tower.width, generator=generator, dtype=dtype)
        elif view.modality == "image":
            side = round(view.size * getattr(tower, "size", SIZE))
            views[name] = torch.rand(size, 3, side, side, generator=generator, dtype=dtype)
        elif view.modality == "audio":
            views[name] = torch.randn(size, 40, generator=generator, dtype=dtype)
        elif view.modality == "series":
            views[name] = torch.randn(size, 40, 3, generator=generator, dtype=dtype)
        elif view.modality == "table":
            views[name] = torch.randn(size, len(CELLS), generator=generator, dtype=dtype)
        elif view.modality == "map":
            side = getattr(method.inputs[view.column], "size", SIZE)
            views[name] = torch.randint(0, 4, (size, side, side), dtype=torch.uint8, generator=generator)
        elif view.augmentation.startswith("masked"):
            views[name] = masked_words(
                views[view.like], WordTokenizer(), np.arange(size, dtype=np.uint64), 0.4
            )
        elif view.modality == "talk":
            first = torch.randint(0, len(_WORDS) - 3, (size,), generator=generator).tolist()
            views[name] = method.inputs[view.column](
                [(Exchange(f"what runs {k % 3}?", " ".join(_WORDS[k : k + 2 + k % 2])),) for k in first]
            )
        elif view.modality == "text" and isinstance(method.inputs[view.column], PromptedText):
            lengths = torch.randint(1, 6, (size,), generator=generator).tolist()
            views[name] = method.inputs[view.column]([" ".join(_WORDS[:k]) for k in lengths])
        elif view.modality == "text":
            views[name] = torch.randint(1, WordTokenizer.end, (size, 5), generator=generator)
        elif view.modality == "video":
            views[name] = torch.rand(size, 4, 3, SIZE, SIZE, generator=generator, dtype=dtype)
            views[name][::4, 3:] = torch.nan
        elif view.modality == "transcript":
            said = [_said(1 + k % 3, k) for k in range(size)]
            views[name] = method.inputs[view.column](said)
        elif view.modality == "boxes":
            sides = torch.rand(size, 3, 2, 2, generator=generator, dtype=dtype).sort(2).values
            views[name] = sides.flatten(2)
            views[name][::4, 1:] = torch.nan
        else:
            raise ValueError(f"no batch can be made of {view.modality}: give batch=")
    tags = torch.randint(-1, 2, (size, len(TAGS.classes)), generator=generator)
    number = torch.randn(size, generator=generator)
    labels = {"group": torch.arange(size) % 5, "tags": tags, "number": number}
    boxes = torch.rand(size, 4, generator=generator, dtype=dtype)
    boxes = torch.cat([boxes[:, :2] / 2, 0.5 + boxes[:, 2:] / 2], 1)
    labels |= {"key_frames": (torch.rand(size, 4, generator=generator) < 0.3).float()}
    labels |= {"key_sentences": (torch.rand(size, 3, generator=generator) < 0.4).float()}
    labels |= {"saliency": torch.randint(0, 5, (size, 4), generator=generator).float()}
    labels |= {"moments": (labels["saliency"] > 2).float()}
    labels["click"] = torch.rand(size, 2, generator=generator, dtype=dtype)
    frames = {
        name: of_boxes(boxes, labels["group"] > 2) for name, view in method.views.items() if view.framed
    }
    return Batch(torch.arange(size), views, labels, frames=frames)


def batch(method: TowerMethod, size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """Return random examples for every view of a method, prepared as it does."""
    return prepared(method, loaded(method, size, seed, dtype), seed)


def prepared(method: TowerMethod, given: Batch, seed: int = 0) -> Batch:
    """Return the batch that a method makes of this rank's part of one before a step."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return method.prepare(given, LATE)


def run(method: TowerMethod, given: Batch, clock: StepInfo = LATE) -> dict[str, Tensor]:
    """Return the losses of a batch, by the calls that the training loop makes."""
    with torch.no_grad():
        z = method.targets(given)
    return method.losses(method.second_round(z | method.encode(given), given), given, clock)


def total(method: TowerMethod, given: Batch, clock: StepInfo = LATE) -> Any:
    """Return the sum of the losses of a batch."""
    return torch.stack(list(run(method, given, clock).values())).sum()
