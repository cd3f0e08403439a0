"""Towers of a few numbers, and batches for them: what the tests of methods run on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.methods import Arm, Method, Needs
from counterpoint.methods.options import options_of, required
from counterpoint.modalities import MODALITIES
from counterpoint.networks.base import ImageTower, TextTower, Tower
from counterpoint.networks.init import initialise, seeded
from counterpoint.networks.towers.boxes import BoxPerceptron
from counterpoint.networks.towers.sound import SoundTower
from counterpoint.networks.towers.transformer import TextTransformer, VisionTransformer
from counterpoint.networks.towers.wav2vec2 import WaveEncoder
from counterpoint.recipes.schema import Recipe, Towers

# What other tests take from here.
from counterpoint.testing._stubs import CELLS as CELLS
from counterpoint.testing._stubs import FIVE as FIVE
from counterpoint.testing._stubs import LATE as LATE
from counterpoint.testing._stubs import NUMBER as NUMBER
from counterpoint.testing._stubs import (
    OF_KIND,
    StubSeries,
    begun,
    columns_for,
    ready,
    stub_map,
    stub_table,
    stub_talk,
    stub_text,
    stub_transcript,
    stub_video,
)
from counterpoint.testing._stubs import RECIPE as RECIPE
from counterpoint.testing._stubs import SIZE as SIZE
from counterpoint.testing._stubs import TAGS as TAGS
from counterpoint.testing._stubs import StubImage as StubImage
from counterpoint.testing._stubs import StubSound as StubSound
from counterpoint.testing._stubs import StubText as StubText
from counterpoint.testing._stubs import WordTokenizer as WordTokenizer
from counterpoint.testing._stubs import batch as batch
from counterpoint.testing._stubs import loaded as loaded
from counterpoint.testing._stubs import prepared as prepared
from counterpoint.testing._stubs import run as run
from counterpoint.testing._stubs import stub_towers as stub_towers
from counterpoint.testing._stubs import total as total
from counterpoint.types import Batch, Target

LOCKED = RECIPE.model_copy(update={"towers": Towers(image="cnn@weights", image_size=SIZE)})
"""A recipe with a pretrained image tower, for LiT."""
READ = RECIPE.model_copy(
    update={"towers": Towers(image="cnn@weights", text="transformer@weights", image_size=SIZE)}
)
"""A recipe with two pretrained towers."""
RECIPES = {"cwcl": READ, "fusemix": READ, "lit": LOCKED}


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


def tiny_vit() -> ImageTower:
    """A vision transformer of four patches."""
    return VisionTransformer(SIZE, 4, width=12, depth=1, heads=2)


def finer_vit() -> ImageTower:
    """A vision transformer of sixteen patches, four in a view of half the side."""
    return VisionTransformer(SIZE, 2, width=12, depth=1, heads=2)


def tiny_transformer() -> TextTower:
    """A causal transformer over the words of the stub's tokenizer."""
    return TextTransformer(WordTokenizer(), width=10, depth=1, heads=2)


PICTURES: dict[str, Callable[[], ImageTower]] = {
    **dict.fromkeys(("amc", "cim", "llava-uhd-v2", "radio", "siglip-2", "x-former"), finer_vit),
    **dict.fromkeys(("clip-moe", "cumo", "dbot", "multimae", "uta"), tiny_vit),
}
"""Towers of pictures for methods that need another one than `StubImage`, and for their teachers."""
TEXTS: dict[str, Callable[[], TextTower]] = {"clip-moe": tiny_transformer}
"""Towers of texts for methods that need another one than `StubText`."""


class ThroughImage(ImageTower):
    """A tower whose input is its output, so that a test can choose the features."""

    features = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.size = width, SIZE

    def forward(self, images: Tensor) -> Tensor:
        return images


class ThroughText(TextTower):
    """A tower whose input is its output."""

    features = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.tokenizer = width, WordTokenizer()

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        return tokens


SMALL: dict[str, dict[str, Any]] = {
    "siamlip": {"hidden": 16, "output": 8},
    "byolip": {"hidden": 16, "output": 8},
    "barlip": {"hidden": 16, "output": 8},
    "swalip": {"hidden": 16, "output": 8, "prototypes": 10},
}
"""Sizes of single methods for these towers."""
PERSONAL = "custom-diffusion", "kind", "textual-inversion", "textual-localization"
"""Methods that teach a painter new words."""
OPTIONS: dict[str, dict[str, Any]] = {
    "blip-2": {"speak": 0.0},  # its second stage is sft's
    "ccc-wav2vec2": {"seconds": 0.005, "mask_length": 1, "negatives": 5, "cluster_factor": 2},
    # Of stages of single experts, the last stage moves nothing.
    "clip-moe": {"source": "copies", "balance": 1.0},
    # Data here has rows of few classes, and each task needs some.
    "coconut-slu": {"tasks": 1},
    "cumo": {"balance": 1.0},
    "distillm-2": {"teacher": "a run of sft"},
    "dito": {"channels": 4},
    "dualcoop": {"vectors": 2, "epochs": 5},
    "ebm": {"noise": 0.0},
    "gml": {"queue": 40},
    "illume": {"samples": 1, "threshold": 0.0, "length": 4},
    "jest": {"filter": 0.5},
    "lm-supcon": {"alternate": False},
    "lmpt": {"vectors": 2},
    "swav": {"prototypes": 10},
    "v2c-cbm": {"epochs": 20},
    "mcl": {"stages": 1},
    "mlcd": {"clusters": 10, "positives": 3, "share": 1.0},
    # Words are short vectors, so that the distance in their unit is too steep for a plain gradient step.
    "p-former": {"regression": 0.01},
    "painter": {"width": 4, "blocks": 2, "text_width": 8, "text_layers": 1},
    "sepclr": {"salient": 1.0, "silence": 1.0},
    # Else there are no further losses yet.
    "siglip-2": {"last": 1.0},
    "x-former": {"speak": 0.0},
    **SMALL,
    **{f"{name}-rocket": {"hidden": 16, "output": 8} for name in SMALL},
    **{name: {"prompt": "a <cat>"} for name in PERSONAL},
}
"""Options of single methods that keep encoding free of chance, and methods small."""
OF_NAME: dict[str, Any] = {"dropout": 0.0}
"""Options that every method has so which has them, for encoding free of chance."""
REQUIRED = {
    "teacher": "a run of siglip",
    "reference": "a run of siglip",
    "model": "a run of sft",
    "painter": "a run of painter",
    "prior": "group+tags",
    "prompter": "a run of siglip",
    "words": "small+red+cat+over+hill+the",
}
"""Values of options without which a method is not built."""
ENTERED = (
    "a method that needs more than its class says is entered in tests/conformance/method_stubs.py: a value of an "
    "option that it cannot do without in REQUIRED; sizes, or options without which encoding has chance in it, in "
    "OPTIONS; pretrained towers in RECIPES; another tower of sounds in SOUNDS, of "
    "pictures in PICTURES, of texts in TEXTS; a label of a new kind in OF_KIND"
)

STEPPING = [name for name in methods.names() if not getattr(methods.METHODS.get(name), "closed", False)]
"""Methods whose runs take steps."""


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
    return columns_for(getattr(methods.METHODS.get(name), "needs", Needs()))


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
    available |= {"table": stub_table()}
    columns = columns_of(name)
    reads = Arm.parse(f"{name},on={on}").reads(columns)
    available |= {"map": stub_map()} if "map" in reads.values() else {}
    available |= {"talk": stub_talk(seed)} if "talk" in reads.values() else {}
    available |= {"boxes": BoxPerceptron()} if "boxes" in reads.values() else {}
    available |= {"video": stub_video()} if "video" in reads.values() else {}
    available |= {"transcript": stub_transcript()} if "transcript" in reads.values() else {}
    if getattr(methods.METHODS.get(name), "names", False):
        reads = {**reads, "text": "text"}
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
    prefix: str = "",
    image: Callable[[], ImageTower] | None = None,
    **options: Any,
) -> Any:
    """A method on the stub towers, started from a seed as a run starts it; of its own kind of label unless given."""
    recipe = recipe or RECIPES.get(name, RECIPE)
    image = image or PICTURES.get(name, StubImage)
    text = TEXTS[name]() if name in TEXTS else stub_text(methods.METHODS.get(name))
    towers = ready(towers_of(name, image(), text, recipe, on, seed), seed)
    towers = {f"{prefix}{c}" if c in MODALITIES else c: tower for c, tower in towers.items()}
    if name == "diht-distilled":
        options = {"teacher": teacher(seed), "top": 3, **options}

    def loaded(path: str) -> Any:
        return build(path.removeprefix("a run of "), 50, image=image)

    with patch("counterpoint.models.load", loaded), saying_where():
        options = {**options_for(name), **options}
        method = methods.create(
            name, towers, recipe, target=target_for(name) if target == "own" else target, **options
        )
    return begun(method, seed)


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


class All:
    """All examples for a look, in batches of another length each."""

    def __init__(self, given: Batch) -> None:
        self.batch, self.ids, self.labels = given, given.ids, given.labels

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([function(part) for part in self.batch.split(5)])


def features(**views: Tensor) -> Batch:
    """A batch for `through`, given its features; ``image_1`` stands for ``image.1``."""
    return Batch(
        torch.arange(len(next(iter(views.values())))), {k.replace("_", "."): v for k, v in views.items()}
    )
