"""Names of towers to towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ...files import run_of
from ...modalities import MODALITIES, PAIR, resolve
from ...recipes.schema import Towers
from ...registry import unknown
from ..base import INPUTS, FittedInput, ImageTower, TextTower, Tokenizer, Tower
from ..init import initialise
from ..libraries import library_of
from ..weights import TowerSource, is_restored, joined_names
from .boxes import BoxPerceptron
from .built_in import IMAGE_TOWERS
from .chat import Chat
from .drawn import DrawnText
from .embedder import PictureEmbedder, TalkEmbedder, TextEmbedder
from .joined import JoinedTower
from .language import RANDOM, LanguageTower, Llama
from .maps import MapPatches, MapSquare
from .parts.attentive import SeriesTransformer
from .perceptron import BagOfWords
from .sentences import SentencesTower, SentenceTokens
from .series import DilatedTower, SeriesTower, Standardised
from .sound import MelTower, SoundTower
from .table import Cells, TablePerceptron, TableTower
from .tokenizer import BytePairTokenizer
from .trained import CheckpointWeights, load_trained, sizes_of_run
from .transformer import TextReader, TextTransformer
from .video import FramesTower, VideoTower
from .wav2vec2 import small_wav2vec2

T = TypeVar("T")
Fitted = TypeVar("Fitted", BytePairTokenizer, Standardised, Cells, MapSquare, Chat, SentenceTokens)


_TRANSFORMERS = {"transformer": TextTransformer, "reader": TextReader}
_TEXT: Mapping[str, Callable[[Tokenizer], TextTower]] = {**_TRANSFORMERS, "bag": BagOfWords}
_SERIES: Mapping[str, Callable[[Standardised], SeriesTower]] = {
    "dilated": DilatedTower,
    "transformer": SeriesTransformer,
}


def _alone(modality: str) -> Tower:
    raise ValueError(f"the tower shares that of the {modality} column, and is built alone")


@dataclass(frozen=True)
class Start:
    """The circumstances in which a tower is built: what the function of a modality's ``build`` gets beside its source.

    Attributes:
        name: of the tower as it was written; the source of a built-in tower has lost its weights, which are read
            afterwards, and within `restored` so have others.
        sizes: the recipe's section on towers.
        seed: of the initial weights.
        examples: gives the training rows' raw forms, one for each column that the tower reads, for an input that is
            fitted on them; dear, so to be called only then.
        folder: of the run, where an earlier start may have left such an input.
        known: what was read for one tower and serves another one too; see `once`.
        sibling: gives the run's tower of another modality.
        modalities: of the columns that the run reads.
        sized: the pictures' size is for all towers, those with a size of their own too.
    """

    name: str
    sizes: Towers
    seed: int
    examples: Callable[[], Sequence[Any]] = tuple
    folder: Path | None = None
    known: dict[object, Any] = field(default_factory=dict)
    sibling: Callable[[str], Tower] = field(default=_alone)
    modalities: frozenset[str] = frozenset()
    sized: bool = False

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """Return the result of ``compute``, which is computed once for all towers of a run."""
        if key not in self.known:
            self.known[key] = compute()
        return self.known[key]

    def fitted(self, form: type[Fitted], fit: Callable[[], Fitted]) -> Fitted:
        """Return the input that an earlier start left, or one that is fitted now."""
        if self.folder is not None:
            # A run has it in a folder of its own, an exported model beside its weights.
            for folder in (self.folder / INPUTS, self.folder):
                if (folder / form.file).exists():
                    return form.load(folder / form.file)
        return fit()

    def vocabulary(self) -> BytePairTokenizer:
        """Return the tokenizer that an earlier start left, or one that is trained on all captions."""

        def train() -> BytePairTokenizer:
            raws = [raw for column in self.examples() for raw in column]
            captions = [caption for raw in raws for caption in ([raw] if isinstance(raw, str) else raw)]
            return BytePairTokenizer.train(captions, self.sizes.vocabulary, self.sizes.context)

        return self.fitted(BytePairTokenizer, train)

    def standardised(self, steps: int) -> Standardised:
        """Return the input of series of so many steps that an earlier start left, or one that is fitted now."""

        def fit() -> Standardised:
            return Standardised.fit([column for column in self.examples() if column is not None], steps)

        return self.fitted(Standardised, fit)


def build_towers(
    towers: Towers,
    examples: Mapping[str, Any],
    seed: int,
    *,
    columns: Mapping[str, str] = PAIR,
    names: Mapping[str, str] | None = None,
    folder: Path | None = None,
    origin: Path | None = None,
) -> dict[str, Tower]:
    """Build the towers of some columns, at the start of a run; columns of one modality share one.

    A random tower's weights depend on the seed and the tower's modality, not on what else is built; the global
    generator is not touched. ``@WEIGHTS`` after a name reads pretrained ones, all of them or none.

    - images: ``cnn``, ``vit``, ``vit-crop``, ``vit-map``, ``vit-windows``, ``mlp``, ``patches``, ``sparse``,
      ``timm:NAME[@hub|@package|@PATH]``
      Several are joined by ``+`` (``vit@RUN+cnn@RUN``), see `counterpoint.networks.towers.joined.JoinedTower`
    - text: ``transformer``, ``reader``, ``bag``, ``transformers:NAME[@hub|@package|@PATH]``,
      ``sentence-transformers:NAME[@hub|@PATH]``; ``pixels`` draws the text, and is the tower of pictures itself
    - pictures, texts and conversations: ``lm``, a ``vit``, a linear bridge and a ``llama``, read at the last token of a
      prompt, one model for all; ``lm@RUN`` is that of a run of ``sft``; of pictures ``lm-cnn`` has a ``cnn``
    - sounds: ``mel``, ``spectra``, ``wav2vec2``, ``transformers:NAME[@hub|@PATH]``,
      ``timm:NAME[@hub|@package|@PATH]`` on log-mel spectrograms, ``resemblyzer:ge2e[@package|@PATH]``
    - series: ``dilated``, ``transformer``, ``transformers:patchtst[@hub|@PATH]``, ``fracast:fracast-0[@package|@PATH]``
    - tables: ``mlp``; maps: ``patches``; boxes: ``perceptron``
    - conversations: ``llama``, ``mamba``, ``mamba2``, ``transformers:PATH`` (a causal language model with a template)
    - transcripts: ``sentences`` (with a built-in tower of texts of the recipe's name on each)
    - clips: ``frames``, ``stills`` (both with a tower of pictures of the recipe's name),
      ``transformers:NAME[@hub|@PATH]``
    - pictures and text: ``open_clip:NAME[@TAG|@PATH]``, and a dual encoder of ``transformers`` or
      ``sentence-transformers``; as text alone, one of these is its text half before the projection

    Any built-in tower takes ``@PATH``, the folder of a finished run, whose vocabulary comes along, or a
    ``safetensors`` file (see `load_trained`).

    >>> from counterpoint.recipes.schema import Towers
    >>> towers = build_towers(Towers(), {"text": ["a red car", "a blue car"]}, seed=0)
    >>> towers["image"].width, towers["text"](towers["text"].input(["a red car"])).shape
    (128, torch.Size([1, 128]))

    Args:
        towers: the names and sizes. ``open_clip`` towers keep the size and context they were made for, ``timm``
            towers with weights the size that these were trained at.
        examples: a column to the raw form of its training rows, which a byte-pair vocabulary is trained on where
            the text tower has none of its own; None for a column of pretrained towers without any.
        seed: of the initial weights.
        columns: the columns that are read, each with its modality.
        names: of towers by modality, before those of ``towers``; a modality without a name has its first tower.
        folder: of the run; an input that an earlier start left there is taken instead of another one.
        origin: the folder of a run that this one goes on from, whose inputs all towers take that ``names`` leaves out.

    Raises:
        UnknownNameError: for a name that is not known; the message gives the nearest one.
        ValueError: for weights that are missing, broken or do not fit, for ``text_layers`` with a text
            tower whose depth is its own, and for a column by whose name no network can be kept.
    """
    for column in columns:
        # A method keeps its towers in a module by these names.
        if "." in column or hasattr(nn.ModuleDict(), column):
            raise ValueError(f"a column that a model reads cannot be called {column!r}: give it another name")
    own, names = names or {}, {**towers.names, **(names or {})}
    towers = towers.model_copy(update={modality: names[modality] for modality in towers.names})
    known: dict[object, Any] = {}
    built: dict[str, Tower] = {}
    modalities = frozenset(columns.values())

    def tower_of(modality: str) -> Tower:
        if modality not in built:
            read = [column for column, of in columns.items() if of == modality]
            name = names.get(modality) or MODALITIES.get(modality).towers[0]
            fitted = folder if _holds_inputs(folder) or modality in own else origin or folder
            start = Start(
                name, towers, seed, lambda: [examples[c] for c in read], fitted, known, tower_of, modalities
            )
            built[modality] = build_tower(modality, start)
        return built[modality]

    return {column: tower_of(modality) for column, modality in columns.items()}


def build_tower(modality: str, start: Start) -> Tower:
    """Build one tower of a modality.

    Raises:
        UnknownNameError: for a name that is not known; the message gives the nearest one.
    """
    kind = MODALITIES.get(modality)
    if len(names := joined_names(start.name, kind.tower_names)) > 1:
        return _joined(modality, names, start)
    source = TowerSource.parse(start.name)
    if source.form not in kind.tower_names:
        raise unknown(f"{modality} tower", str(source), kind.tower_names)
    library = library_of(source)
    if is_restored() and (library is None or library.is_built_by_name(source)):
        source = replace(source, weights=None)
    with torch.random.fork_rng(devices=[]):  # constructors draw weights, which are then drawn anew by name
        if library is not None:
            tower = library.build(modality, source, start)
        elif source.library or source.weights is None:
            tower = resolve(kind.build)(source, start)
        else:
            tower = _borrowed(modality, source, start)
        if not tower.weights_set:
            initialise(tower, start.seed, modality)
            tower.weights_set = True
    tower.name = start.name
    if isinstance(tower, LanguageTower):
        tower.chat.exchanges = start.sizes.talk_exchanges
    return tower


def _joined(modality: str, names: Sequence[str], start: Start) -> Tower:
    """Build several towers as one."""
    towers = [build_tower(modality, replace(start, name=name)) for name in names]
    of_pictures = [tower for tower in towers if isinstance(tower, ImageTower)]
    if len(of_pictures) < len(towers):
        raise ValueError(f"{modality} towers {start.name}: towers of pictures alone are joined by +")
    tower = JoinedTower(of_pictures)
    if not tower.weights_set:
        initialise(tower, start.seed, modality)
        tower.weights_set = True
    tower.name = start.name
    return tower


def _borrowed(modality: str, source: TowerSource, start: Start) -> Tower:
    """Build a built-in tower with the weights of an earlier run, and with the inputs that were fitted for that one."""
    folder = source.path
    of_run = folder is not None and folder.is_dir()
    if folder is not None and of_run:
        start = replace(start, sizes=start.sizes.model_copy(update=sizes_of_run(run_of(folder))))
        if not _holds_inputs(start.folder):
            start = replace(start, folder=run_of(folder))
    tower: Tower = resolve(MODALITIES.get(modality).build)(replace(source, weights=None), start)
    if isinstance(tower.input, FittedInput) and not of_run:
        raise ValueError(
            f"tower {source}: its weights go with the {tower.input.file} that they were trained with; name the folder "
            "of the run, where both are"
        )
    if isinstance(tower, PictureEmbedder | TextEmbedder) and folder is not None:
        tower.load_speaker(CheckpointWeights.of_run(folder, f"tower {source}"), source)
    else:
        load_trained(tower, source)
    tower.weights_set = True
    return tower


def _holds_inputs(folder: Path | None) -> bool:
    """Return whether an earlier start of a run has left the inputs that it fitted, as a tokenizer is."""
    return folder is not None and (folder / INPUTS).is_dir()


def build_image_tower(name: str, size: int, seed: int = 0) -> ImageTower:
    """Build one image tower by its name, for pictures of a size whatever size its weights were trained at.

    Raises:
        UnknownNameError: for a name that is not known; the message gives the nearest one.
        ValueError: for weights that are missing, broken or do not fit.
    """
    tower = build_tower("image", Start(name, Towers(image=name, image_size=size), seed, sized=True))
    assert isinstance(tower, ImageTower)
    return tower


def image_tower(source: TowerSource, start: Start) -> ImageTower:
    """Build a built-in tower of pictures; see `build_towers`."""
    sizes, inner = start.sizes, {"lm": "vit", "lm-cnn": "cnn"}.get(source.name)
    made = IMAGE_TOWERS[inner or source.name].of_sizes(
        sizes.image_size, sizes.image_width, sizes.image_layers, sizes.image_patch
    )
    return PictureEmbedder(made, _embedding_language(start)) if inner else made


def text_tower(source: TowerSource, start: Start) -> Tower:
    """Build a built-in tower of texts; see `build_towers`."""
    layers = start.sizes.text_layers
    if source.name == "pixels" and layers is None:
        image = start.sibling("image")
        assert isinstance(image, ImageTower)
        return DrawnText(image)
    if source.name == "lm" and layers is None:
        return TextEmbedder(*_embedder(start))
    if layers is not None and source.name not in _TRANSFORMERS:
        raise ValueError(f"towers.text_layers={layers}: {source} has no layers to count")
    tokenizer = start.vocabulary()
    return _TRANSFORMERS[source.name](tokenizer, depth=layers) if layers else _TEXT[source.name](tokenizer)


def audio_tower(source: TowerSource, start: Start) -> SoundTower:
    """Build a built-in tower of sounds; see `build_towers`."""
    sizes = start.sizes
    if source.name == "wav2vec2":
        return small_wav2vec2(sizes.audio_rate, sizes.audio_seconds, start.seed)
    heard = sizes.audio_rate, sizes.audio_seconds, sizes.audio_bands
    return MelTower(*heard, dilations=()) if source.name == "spectra" else MelTower(*heard)


def video_tower(source: TowerSource, start: Start) -> VideoTower:
    """Build a built-in tower of clips; see `build_towers`."""
    sizes = start.sizes
    image = build_tower("image", replace(start, name=sizes.image))
    assert isinstance(image, ImageTower)
    return FramesTower(image, sizes.video_frames, ordered=source.name == "frames")


def series_tower(source: TowerSource, start: Start) -> SeriesTower:
    """Build a built-in tower of series; see `build_towers`."""
    return _SERIES[source.name](start.standardised(start.sizes.series_steps))


def table_tower(source: TowerSource, start: Start) -> TableTower:
    """Build a built-in tower of tables; see `build_towers`."""
    return TablePerceptron(start.fitted(Cells, lambda: Cells.fit(start.examples())))


def map_tower(source: TowerSource, start: Start) -> MapPatches:
    """Build a built-in tower of maps, which are resized as the pictures of the same rows are; see `build_towers`."""
    size, way = start.sizes.image_size, None
    if "image" in start.modalities:
        image = start.sibling("image")
        assert isinstance(image, ImageTower)
        size, way = image.size, image.fit
    return MapPatches(start.fitted(MapSquare, lambda: MapSquare.fit(start.examples(), size, way)))


def boxes_tower(source: TowerSource, start: Start) -> BoxPerceptron:
    """Build a built-in tower of boxes; see `build_towers`."""
    return BoxPerceptron()


def talk_tower(source: TowerSource, start: Start) -> Tower:
    """Build a built-in tower of conversations; see `build_towers`."""
    sizes = start.sizes
    if source.name == "lm":
        return TalkEmbedder(*_embedder(start))
    chat = start.fitted(Chat, lambda: Chat.fit(start.examples(), sizes.vocabulary, sizes.talk_context))
    return RANDOM[source.name](chat, sizes.talk_width, sizes.talk_layers, start.seed)


def transcript_tower(source: TowerSource, start: Start) -> SentencesTower:
    """Build a built-in tower of transcripts, whose sentences a built-in tower of texts reads; see `build_towers`."""
    sizes = start.sizes
    words = TowerSource.parse(sizes.text).name
    if words not in _TEXT:
        raise unknown("text tower for sentences", sizes.text, _TEXT)

    def fit() -> SentenceTokens:
        rows = [row for column in start.examples() for row in column]
        return SentenceTokens.fit(rows, sizes.vocabulary, sizes.context)

    tokens = start.fitted(SentenceTokens, fit)
    tower = _TEXT[words](tokens.tokenizer)
    tower.name = words
    return SentencesTower(tower, tokens)


def _embedder(start: Start) -> tuple[LanguageTower, PictureEmbedder | None]:
    """Return the language model of a tower of texts or conversations, and the tower of pictures that holds it."""
    # Both columns name one model, or this column names that of the pictures without its weights.
    sibling = start.sibling("image") if "image" in start.modalities else None
    if isinstance(sibling, PictureEmbedder) and start.name in ("lm", sibling.name):
        return sibling.language, sibling
    return _embedding_language(start), None


def _embedding_language(start: Start) -> Llama:
    """Build the language model of towers that embed; without a run it reads bytes."""
    sizes = start.sizes
    chat = start.fitted(Chat, lambda: Chat.fit((), sizes.vocabulary, sizes.talk_context))
    return Llama(chat, sizes.talk_width, sizes.talk_layers, start.seed)
