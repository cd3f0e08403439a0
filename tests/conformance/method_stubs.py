"""Towers of a few numbers, and batches for them: what the tests of methods run on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.frames import of_boxes
from counterpoint.methods import Arm, Method, Needs
from counterpoint.methods.options import options_of, required
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.modalities import PAIR
from counterpoint.networks.base import ImageTower, TextTower, Tower
from counterpoint.networks.init import initialise, seeded
from counterpoint.networks.towers.libraries.sound_towers import WaveEncoder
from counterpoint.networks.towers.series import SeriesTower, Standardised
from counterpoint.networks.towers.sound import SoundTower
from counterpoint.networks.towers.table import Cells, ColumnStatistics, TablePerceptron
from counterpoint.networks.towers.transformer import VisionTransformer
from counterpoint.raw import ends
from counterpoint.recipes.schema import Recipe, Towers, Widths
from counterpoint.types import Batch, Kind, StepInfo, Target

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
LOCKED = RECIPE.model_copy(update={"towers": Towers(image="cnn@weights", image_size=SIZE)})
"""A recipe with a pretrained image tower, for LiT."""
READ = RECIPE.model_copy(
    update={"towers": Towers(image="cnn@weights", text="transformer@weights", image_size=SIZE)}
)
"""A recipe with two pretrained towers."""
FIVE = Target("group", ("a", "b", "c", "d", "e"))
TAGS = Target("tags", ("red", "green", "blue"), "tags")
NUMBER = Target("number", (), "numbers")
OF_KIND: dict[Kind, Target] = {"classes": FIVE, "tags": TAGS, "numbers": NUMBER}
"""Labels of `batch` that methods learn from, by kind; points are learned beside another label, as ``click``."""
BEHIND = ("shown", "false")
"""Columns behind a pair, by which of the pair they are like."""
CELLS = ("first", "second", "third", "fourth")
"""Columns of numbers of the tables here."""
RECIPES = {"cwcl": READ, "fusemix": READ, "lit": LOCKED}


class Words:
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
        """Two places: the features of each half of the picture, the other half black."""
        lower = torch.arange(SIZE)[:, None] >= SIZE // 2
        halves = [torch.tanh(self.linear((images * half).flatten(1))) for half in (~lower, lower)]
        return torch.stack(halves, -1)[..., None]


class StubText(TextTower):
    """The mean of word vectors, and a linear layer."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.width, self.tokenizer = width, Words()
        self.words = nn.Embedding(Words.vocabulary, width)
        self.linear = nn.Linear(width, width)
        self.dropouts: list[float] = []

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        self.dropouts.append(dropout)
        mean = F.dropout(self.words(tokens), dropout, self.training).mean(1)
        return torch.tanh(self.linear(mean))

    def states(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        """Return the features of the words by themselves."""
        return torch.tanh(self.linear(self.words(tokens))) * (tokens > 0)[..., None]


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


def tiny_wav2vec2(seed: int) -> WaveEncoder:
    """A Wav2Vec2 with a state of every four samples, free of chance."""
    config = transformers.Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(6, 6),
        conv_kernel=(4, 2),
        conv_stride=(2, 2),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_codevectors_per_group=4,
        codevector_dim=8,
        proj_codevector_dim=8,
        feat_extract_norm="layer",
        **dict.fromkeys(
            ("hidden_dropout", "attention_dropout", "feat_proj_dropout", "activation_dropout"), 0.0
        ),
    )
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=StubSound.rate)
    with seeded(seed, "tiny wav2vec2"):
        return WaveEncoder(transformers.Wav2Vec2Model(config), extractor, StubSound.seconds)


SOUNDS: dict[str, Callable[[int], SoundTower]] = {"ccc-wav2vec2": tiny_wav2vec2}
"""Towers of sounds for methods that need another one than `StubSound`, from a seed."""


class ThroughImage(ImageTower):
    """A tower whose input is its output, so that a test can choose the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.size = width, SIZE

    def forward(self, images: Tensor) -> Tensor:
        return images


class ThroughText(TextTower):
    """A tower whose input is its output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.tokenizer = width, Words()

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        return tokens


SMALL: dict[str, dict[str, Any]] = {
    "siamlip": {"hidden": 16, "output": 8},
    "byolip": {"hidden": 16, "output": 8},
    "barlip": {"hidden": 16, "output": 8},
    "swalip": {"hidden": 16, "output": 8, "prototypes": 10},
}
"""Sizes of single methods for these towers."""
OPTIONS: dict[str, dict[str, Any]] = {
    "ccc-wav2vec2": {"seconds": 0.005, "mask_length": 1, "negatives": 5, "cluster_factor": 2},
    "ebm": {"noise": 0.0},
    "gml": {"queue": 40},
    "jest": {"filter": 0.5},
    "swav": {"prototypes": 10},
    "mcl": {"stages": 1},
    "mlcd": {"clusters": 10, "positives": 3, "share": 1.0},
    "sepclr": {"salient": 1.0, "silence": 1.0},
    **SMALL,
    **{f"{name}-rocket": {"hidden": 16, "output": 8} for name in SMALL},
}
"""Options of single methods that keep encoding free of chance, and methods small."""
OF_NAME: dict[str, Any] = {"dropout": 0.0}
"""Options that every method has so which has them, for encoding free of chance."""
REQUIRED = {
    "teacher": "a run of siglip",
    "reference": "a run of siglip",
    "prior": "group+tags",
}
"""Values of options without which a method is not built."""
ENTERED = (
    "a method that needs more than its class says is entered in tests/conformance/method_stubs.py: a value of an "
    "option that it cannot do without in REQUIRED; sizes, or options without which encoding has chance in it, in "
    "OPTIONS; pretrained towers in RECIPES; another tower of sounds in SOUNDS; a label of a new kind in OF_KIND"
)


@cache
def teacher(seed: int = 0) -> str:
    """A frozen image tower to learn from, its weights in a file."""
    tower = VisionTransformer(SIZE)
    initialise(tower, seed, "teacher")
    path = Path(tempfile.mkdtemp()) / "teacher.safetensors"
    save_file(tower.state_dict(), path)
    return f"vit@{path}"


def columns_of(name: str) -> dict[str, str]:
    """The columns, each with its modality, that suit what a method says it needs."""
    needs = getattr(methods.METHODS.get(name), "needs", Needs())
    if needs.only:
        return {f"{needs.only} {k}": needs.only for k in range(1, 4)}
    # Those of pictures and texts unless the method is about others, or about more.
    if set(needs.modalities) - set(PAIR):
        return {column: column for column in needs.modalities}
    if needs.further:
        pair = list(PAIR.values())
        return PAIR | {BEHIND[k]: pair[k] for k in reversed(needs.further)}
    return PAIR | {"audio": "audio"} if needs.least > len(PAIR) else PAIR


def options_for(name: str) -> dict[str, Any]:
    """The options that a method is built with, where a test gives it no others."""
    kind = methods.METHODS.get(name)
    if not issubclass(kind, Method):
        return OPTIONS.get(name, {})
    usual = {option: value for option, value in OF_NAME.items() if option in options_of(kind)}
    needed = {option: REQUIRED[option] for option in required(kind) if option in REQUIRED}
    return {**usual, **needed, **OPTIONS.get(name, {})}


def target_for(name: str) -> Target | None:
    """The label that a method learns from by itself; None for one that learns from none, and for losses."""
    if not issubclass(kind := methods.METHODS.get(name), Method) or not kind.learns:
        return None
    return OF_KIND[kind.learns[0]]


def towers_of(
    name: str, image: Tower, text: Tower, recipe: Recipe, on: str = "pairs", seed: int = 0
) -> dict[str, Tower]:
    """The towers of the columns that a method works on, with the names that the recipe has for them."""
    image.name, text.name = recipe.towers.image, recipe.towers.text
    sound = SOUNDS.get(name, lambda _: StubSound())(seed)
    available = {"image": image, "text": text, "audio": sound, "series": StubSeries()}
    available |= {"table": TablePerceptron(Cells([ColumnStatistics(name=name) for name in CELLS]))}
    columns = columns_of(name)
    reads = Arm.parse(f"{name},on={on}").reads(columns)
    return {column: available[modality] for column, modality in reads.items()}


@contextmanager
def saying_where() -> Iterator[None]:
    """Say of an error where a method is entered that needs more than its class says."""
    try:
        yield
    except (ValueError, LookupError, TypeError) as error:
        error.add_note(ENTERED)
        raise


def build(
    name: str,
    seed: int = 0,
    recipe: Recipe | None = None,
    on: str = "pairs",
    target: Target | Literal["own"] | None = "own",
    **options: Any,
) -> Any:
    """A method on the stub towers, started from a seed as a run starts it; of its own kind of label unless given."""
    recipe = recipe or RECIPES.get(name, RECIPE)
    towers = towers_of(name, StubImage(), StubText(), recipe, on, seed)
    for column, tower in towers.items():
        initialise(tower, seed, column)
        tower.weights_set = True
    if name == "diht-distilled":
        options = {"teacher": teacher(seed), "top": 3, **options}
    with patch("counterpoint.models.load", lambda path: build("siglip", 50)), saying_where():
        options = {**options_for(name), **options}
        method = methods.create(
            name, towers, recipe, target=target_for(name) if target == "own" else target, **options
        )
    initialise(method, seed)
    for parameter_name, parameter in method.named_parameters() if method.stages else ():
        # As in the stage that a run ends in.
        moves = parameter_name.startswith(method.stages[-1].moves)
        parameter.requires_grad_(parameter.requires_grad and moves)
    if hasattr(method, "begin_task"):
        method.begin_task()  # in the first there is no previous model, and nothing for its predictor to learn
    return method


def through(
    name: str,
    width: int = 8,
    recipe: Recipe = RECIPE,
    target: Target | Literal["own"] | None = "own",
    **options: Any,
) -> Any:
    """A method in float64 whose features a test chooses, and whose contrastive heads are the identity."""
    options = {**options_for(name), **options}
    towers = towers_of(name, ThroughImage(width), ThroughText(width), recipe)
    method = methods.create(
        name, towers, recipe, target=target_for(name) if target == "own" else target, **options
    )
    initialise(method, 0)
    identities = nn.ModuleDict({"image": nn.Identity(), "text": nn.Identity()})
    method.projections = identities
    if getattr(method, "local_projections", None) is not None:
        method.local_projections = identities
    return method.double()


def batch(method: TowerMethod, size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """Random examples for every view of a method, prepared as it does."""
    return prepared(method, loaded(method, size, seed, dtype), seed)


class All:
    """All examples for a look, in batches of another length each."""

    def __init__(self, given: Batch) -> None:
        self.batch, self.ids, self.labels = given, given.ids, given.labels

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([function(part) for part in self.batch.split(5)])


def prepared(method: TowerMethod, given: Batch, seed: int = 0) -> Batch:
    """Return the batch that a method makes of this rank's part of one before a step."""
    torch.manual_seed(seed)
    with torch.no_grad():
        return method.prepare(given, LATE)


def loaded(method: TowerMethod, size: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """A batch as a loader has it."""
    generator = torch.Generator().manual_seed(seed)
    views: dict[str, Tensor] = {}
    for name, view in method.views.items():
        if isinstance(method.tower(view.column), ThroughImage | ThroughText):
            width = method.tower(view.column).width
            views[name] = torch.randn(size, width, generator=generator, dtype=dtype)
        elif view.modality == "image":
            side = round(view.size * SIZE)
            views[name] = torch.rand(size, 3, side, side, generator=generator, dtype=dtype)
        elif view.modality == "audio":
            views[name] = torch.randn(size, 40, generator=generator, dtype=dtype)
        elif view.modality == "series":
            views[name] = torch.randn(size, 40, 3, generator=generator, dtype=dtype)
        elif view.modality == "table":
            views[name] = torch.randn(size, len(CELLS), generator=generator, dtype=dtype)
        else:
            views[name] = torch.randint(1, Words.end, (size, 5), generator=generator)
    tags = torch.randint(-1, 2, (size, len(TAGS.classes)), generator=generator)
    number = torch.randn(size, generator=generator)
    labels = {"group": torch.arange(size) % 5, "tags": tags, "number": number}
    boxes = torch.rand(size, 4, generator=generator, dtype=dtype)
    boxes = torch.cat([boxes[:, :2] / 2, 0.5 + boxes[:, 2:] / 2], 1)
    labels["click"] = torch.rand(size, 2, generator=generator, dtype=dtype)
    frames = {
        name: of_boxes(boxes, labels["group"] > 2) for name, view in method.views.items() if view.framed
    }
    return Batch(torch.arange(size), views, labels, frames=frames)


def features(**views: Tensor) -> Batch:
    """A batch for `through`, given its features; ``image_1`` stands for ``image.1``."""
    return Batch(
        torch.arange(len(next(iter(views.values())))), {k.replace("_", "."): v for k, v in views.items()}
    )


def run(method: TowerMethod, given: Batch, clock: StepInfo = LATE) -> dict[str, Tensor]:
    """The losses of a batch, by the calls that the training loop makes."""
    with torch.no_grad():
        z = method.targets(given)
    return method.losses(z | method.encode(given), given, clock)


def total(method: TowerMethod, given: Batch, clock: StepInfo = LATE) -> Any:
    return torch.stack(list(run(method, given, clock).values())).sum()
