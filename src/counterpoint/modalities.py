"""Modalities: the kinds of column that data may have, each with the place of whatever it needs.

Nothing heavy is imported here. A further modality is one call away, and no other file has to know of it:

    MODALITIES.register(Modality("touch", check=..., view=..., build=..., towers=("small",)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from .registry import Registry, load, unknown

Reference = str | Callable[..., Any]
"""``"package.module:symbol"``, imported when it is first asked for, or the thing itself."""


LIBRARIES = Registry("kind of model", "counterpoint.interop", from_stub=True, ending="Loader")
"""Kinds of model; those that state a ``library`` have towers. See `counterpoint.interop`."""


@cache
def library_modalities() -> Mapping[str, tuple[str, ...]]:
    """Return the modalities of which each library has towers, by the library's name in towers; nothing is imported.

    >>> library_modalities()["timm"]
    ('image', 'audio')
    """
    names = {name: LIBRARIES.stated(name, "library") for name in LIBRARIES.names()}
    return {library: LIBRARIES.stated(name, "modalities") for name, library in names.items() if library}


@dataclass(frozen=True)
class Modality:
    """One kind of column: pictures, texts, whatever else is registered.

    The *raw form* is what `Data.read` gives and ``model.embed`` takes: some examples in one object with a length.

    Attributes:
        name: as columns, options and metrics call it.
        noun: several of its examples in words.
        one: a single example in words; the noun without its s unless given.
        letter: stands for it in the names of metrics: ``i2t_R@1``; the first letter of the name unless given.
        check: ``check(raw) -> raw`` returns a raw form that can be embedded, and refuses others with what would mend
            them.
        accept: ``accept(inputs, input) -> raw`` makes a raw form for a tower's input of what users have, as paths of
            files, and returns anything else unchanged; nothing where only raw forms are taken.
        view: ``view(augmentation, options) -> look`` finds a view by its name; ``look(raw, keys, input) -> tensor``
            changes examples, each by its key, and makes them a tower's input; see `counterpoint.data.views`.
        build: ``build(source, start) -> tower`` builds a tower; see `counterpoint.networks.towers.build.Start`.
        towers: the names of the towers that ``build`` knows, the default first; see `tower_names` for all.
        able: what only some of these towers have, by the name of a property of
            `counterpoint.networks.base.Tower`; the first of them is built where a method asks for it.
        paired: the view that a method of pairs trains on: one that keeps what an example says.
        contrasted: the view for methods that contrast an example with itself.
        located_in: the modality that its examples are about pixel by pixel; in a method of pairs its view shows the
            part that the view of the first column of that modality does.
        cut: ``cut(raw, frames) -> raw`` returns what is said of whole pictures as it is in the squares that are cut
            from them; none where examples are stored as such squares are.
        share: ``share(raw, options, keys) -> raw`` leaves examples what all their views have in common, once a
            batch; nothing unless given.
        draw: ``draw(axis, example)`` draws one example on an axis of matplotlib.
        corruptions: ways to make examples worse, by name: ``worse(raw, ids, strength) -> raw``, of strength 0 to 2, by
            an example and its id alone; the task ``shift`` asks about them.
        play: ``play(example, seconds) -> kind, file`` returns what is heard of one example, at most so many seconds, or
            seen to move, as a file and its MIME type; none for what is silent and still.
        tell: ``tell(example) -> text`` says one example in words; none for what says more when it is drawn.
        sample: ``sample(model, column) -> ours, theirs`` makes some examples for a model, and the same for what it was
            exported to, on which the two are compared; none where an export is not compared.
        unit: of lengths: ``"seconds"``, of which ``form`` places make one, or what places are called; none where
            examples have no length.
        endings: of the files that hold one example each, in small letters; none where examples come in no files.
        store: ``store(example) -> kind, file`` returns one example as a file, from which ``read`` reads the same.
        read: ``read(data, form) -> array`` reads the bytes of such a file; ``form`` is the input's ``form`` (see
            `counterpoint.networks.base.FormedInput`).
        form: in which files are read before a tower says otherwise.
        count: ``count(data) -> int`` returns how many places such a file has, where ``read`` may keep fewer.
        rate: ``rate(data) -> int`` returns how many places of such a file make a second, 0 where it does not say.
        pack: ``pack(arrays, form) -> raw`` makes one raw form of what was read, or of the texts of each row; texts are
            their own raw form without it.
        group: texts of a row come in groups of so many, as a request and its reply are two.
        derive: ``derive(data, parts) -> data`` adds a column of this modality, made of other columns, to data without
            one, where an arm asks for it; none where the column must be there.
        option: a further name of the option that names its tower in an arm.
        held: in users' tables, where each is a path or the bytes of a file (``"files"``), one or more texts
            (``"texts"``), or one or more cells with numbers and words (``"values"``).
        fitted_on: training rows that a tower's input is fitted on, at most; 0 for all.
        arrays: lists of numbers in a table are examples, too.
        storage: ``storage.of(files, modality, options)`` reads the files of a column and keeps them; see
            `counterpoint.data.reading.file_examples.FileExamples`.
    """

    name: str
    check: Reference
    view: Reference
    build: Reference
    towers: tuple[str, ...]
    able: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paired: str = "weak"
    contrasted: str = "simclr"
    located_in: str = ""
    cut: Reference | None = None
    accept: Reference | None = None
    share: Reference | None = None
    draw: Reference | None = None
    play: Reference | None = None
    tell: Reference | None = None
    sample: Reference | None = None
    corruptions: Reference | Mapping[str, Callable[..., Any]] | None = None
    noun: str = ""
    one: str = ""
    letter: str = ""
    unit: str = ""
    endings: frozenset[str] = frozenset()
    read: Reference | None = None
    store: Reference | None = None
    form: int = 0
    count: Reference | None = None
    rate: Reference | None = None
    pack: Reference | None = None
    group: int = 1
    derive: Reference | None = None
    option: str = ""
    held: Literal["files", "texts", "values"] = "files"
    fitted_on: int = 0
    arrays: bool = False
    storage: Reference = "counterpoint.data.listed.decoded:DecodedExamples"

    def __post_init__(self) -> None:
        object.__setattr__(self, "noun", self.noun or self.name)
        object.__setattr__(self, "one", self.one or self.noun.removesuffix("s"))
        object.__setattr__(self, "letter", self.letter or self.name[0])

    @property
    def tower_names(self) -> tuple[str, ...]:
        """The names of all its towers: those of libraries, as ``timm:NAME``, after its own."""
        libraries = [library for library, names in library_modalities().items() if self.name in names]
        return (*self.towers, *(f"{library}:NAME" for library in libraries))


class Modalities:
    """The modalities that are known, by name.

    >>> MODALITIES.get("text").paired
    'plain'
    """

    def __init__(self, *modalities: Modality) -> None:
        self._known = {modality.name: modality for modality in modalities}

    def register(self, modality: Modality) -> Modality:
        """Add a modality, in place of one of the same name."""
        self._known[modality.name] = modality
        return modality

    def get(self, name: str) -> Modality:
        """Return a modality.

        Raises:
            UnknownNameError: for a name that is not registered; the message gives the nearest one.
        """
        if name not in self._known:
            raise unknown("modality", name, self._known)
        return self._known[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._known.values())


def resolve(reference: Reference | Mapping[str, Any] | None) -> Any:
    """Return what a reference stands for; None for none.

    >>> resolve("json:dumps")([1])
    '[1]'
    """
    return load(reference) if isinstance(reference, str) else reference


MODALITIES = Modalities(
    Modality(
        "image",
        check="counterpoint.raw:check_pictures",
        accept="counterpoint.data.pictures.single:accept_pictures",
        view="counterpoint.data.views.named_pictures:image",
        build="counterpoint.networks.towers.build:image_tower",
        towers=(
            "cnn",
            "vit",
            "vit-crop",
            "naflex",
            "vit-map",
            "vit-windows",
            "mlp",
            "patches",
            "sparse",
            "lm",
            "lm-cnn",
        ),
        able={
            "drops_keys": ("vit", "vit-crop", "vit-map", "vit-windows"),
            "takes_masks": ("vit", "vit-crop", "timm:NAME"),
        },
        draw="counterpoint.data.pictures.sheet:draw_picture",
        corruptions="counterpoint.data.corruptions.pictures:CORRUPTIONS",
        sample="counterpoint.exporting._comparison:sample_pictures",
        noun="pictures",
        endings=frozenset(
            {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".svg"}
        ),
        store="counterpoint.data.pictures.sheet:store_picture",
        storage="counterpoint.data.pictures.squares:DecodedPictures",
    ),
    Modality(
        "text",
        check="counterpoint.raw:check_texts",
        view="counterpoint.data.views.captions:text",
        build="counterpoint.networks.towers.build:text_tower",
        towers=("transformer", "reader", "bag", "pixels", "lm"),
        able={"masks_words": ("reader",)},
        paired="plain",
        contrasted="plain",
        share="counterpoint.data.views.captions:share",
        draw="counterpoint.data.pictures.sheet:draw_text",
        tell="builtins:str",
        sample="counterpoint.exporting._comparison:sample_texts",
        noun="texts",
        held="texts",
    ),
    Modality(
        "audio",
        check="counterpoint.raw:check_waves",
        accept="counterpoint.data.reading.sounds:accept_sounds",
        view="counterpoint.data.views.waves:audio",
        build="counterpoint.networks.towers.build:audio_tower",
        towers=("mel", "spectra", "wav2vec2"),
        draw="counterpoint.data.pictures.sheet:draw_sound",
        play="counterpoint.data.reading.sounds:play_sound",
        corruptions="counterpoint.data.corruptions.sounds:CORRUPTIONS",
        sample="counterpoint.exporting._comparison:sample_sounds",
        noun="sounds",
        unit="seconds",
        endings=frozenset({".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aiff", ".aif"}),
        read="counterpoint.data.reading.sounds:read_sound",
        store="counterpoint.data.reading.sounds:store_sound",
        form=16_000,
        rate="counterpoint.data.reading.sounds:rate_of",
        pack="counterpoint.data.reading.sounds:pack_sounds",
    ),
    Modality(
        "video",
        check="counterpoint.raw:check_clips",
        view="counterpoint.data.views.clips:video",
        build="counterpoint.networks.towers.build:video_tower",
        towers=("frames", "stills"),
        draw="counterpoint.data.pictures.sheet:draw_clip",
        play="counterpoint.data.reading.clips:play_clip",
        corruptions="counterpoint.data.corruptions.clips:CORRUPTIONS",
        sample="counterpoint.exporting._comparison:sample_clips",
        noun="clips",
        unit="frames",
        endings=frozenset({".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v"}),
        read="counterpoint.data.reading.clips:read_clip",
        store="counterpoint.data.reading.clips:store_clip",
        count="counterpoint.data.reading.clips:frames_in",
        form=64,
        pack="counterpoint.data.reading.clips:pack_clips",
    ),
    Modality(
        "series",
        check="counterpoint.raw:check_series",
        view="counterpoint.data.views.time_series:series",
        build="counterpoint.networks.towers.build:series_tower",
        towers=("dilated", "transformer"),
        able={"drops_keys": ("transformer",)},
        draw="counterpoint.data.pictures.sheet:draw_series",
        corruptions="counterpoint.data.corruptions.series:CORRUPTIONS",
        sample="counterpoint.exporting._comparison:sample_series",
        one="series",
        unit="steps",
        endings=frozenset({".npy", ".edf", ".bdf", ".hea"}),
        read="counterpoint.data.reading.series:read_series",
        store="counterpoint.data.reading.series:store_series",
        rate="counterpoint.data.reading.series:rate_of",
        pack="counterpoint.data.reading.series:pack_series",
        arrays=True,
    ),
    Modality(
        "table",
        check="counterpoint.raw:check_table",
        view="counterpoint.data.views.tables:table",
        build="counterpoint.networks.towers.build:table_tower",
        towers=("mlp",),
        draw="counterpoint.data.pictures.sheet:draw_cells",
        tell="counterpoint.data.pictures.sheet:tell_cells",
        sample="counterpoint.exporting._comparison:sample_rows",
        noun="table rows",
        letter="b",
        held="values",
    ),
    Modality(
        "map",
        check="counterpoint.raw:check_maps",
        view="counterpoint.data.views.maps:maps",
        build="counterpoint.networks.towers.build:map_tower",
        towers=("patches",),
        located_in="image",
        draw="counterpoint.data.pictures.sheet:draw_map",
        sample="counterpoint.exporting._comparison:sample_maps",
        noun="maps",
        fitted_on=512,
        store="counterpoint.data.reading.regions:store_map",
        storage="counterpoint.data.pictures.maps:DecodedMaps",
    ),
    Modality(
        "boxes",
        check="counterpoint.raw:check_boxes",
        view="counterpoint.data.views.maps:boxes",
        build="counterpoint.networks.towers.build:boxes_tower",
        towers=("perceptron",),
        located_in="image",
        draw="counterpoint.data.pictures.sheet:draw_boxes",
        sample="counterpoint.exporting._comparison:sample_boxes",
        noun="sets of boxes",
        one="set of boxes",
        cut="counterpoint.data.reading.regions:cut_boxes",
        read="counterpoint.data.reading.regions:read_boxes",
        store="counterpoint.data.reading.regions:store_boxes",
        pack="counterpoint.data.reading.regions:pack_boxes",
        arrays=True,
    ),
    Modality(
        "talk",
        check="counterpoint.raw:check_conversations",
        view="counterpoint.data.views.conversations:talk",
        build="counterpoint.networks.towers.build:talk_tower",
        towers=("llama", "mamba", "mamba2", "lm"),
        paired="plain",
        contrasted="plain",
        draw="counterpoint.data.pictures.sheet:draw_conversation",
        tell="counterpoint.data.pictures.sheet:tell_conversation",
        sample="counterpoint.exporting._comparison:sample_conversations",
        noun="conversations",
        letter="d",
        pack="counterpoint.raw:pack_conversations",
        group=2,
        derive="counterpoint.data.derived.conversations:ConversationData",
        option="lm",
        held="texts",
    ),
    Modality(
        "transcript",
        check="counterpoint.raw:check_transcripts",
        view="counterpoint.data.views.transcripts:transcript",
        build="counterpoint.networks.towers.build:transcript_tower",
        towers=("sentences",),
        paired="plain",
        contrasted="plain",
        draw="counterpoint.data.pictures.sheet:draw_transcript",
        tell="counterpoint.data.reading.subtitles:tell_transcript",
        sample="counterpoint.exporting._comparison:sample_transcripts",
        noun="transcripts",
        letter="r",
        endings=frozenset({".vtt", ".srt"}),
        read="counterpoint.data.reading.subtitles:read_transcript",
        store="counterpoint.data.reading.subtitles:store_transcript",
        pack="counterpoint.data.reading.subtitles:pack_transcripts",
    ),
)
"""The modalities that are known."""
PAIR = {"image": "image", "text": "text"}
"""The columns of data of pictures and captions, with their modalities."""
PAIR_PASSES = "pairs"
"""The unit beside the modalities in which a method counts passes: of pairs through a joint encoder."""


def noun_of(column: str) -> str:
    """Return what examples of a column are called, where it is called after its modality; else its own name.

    >>> noun_of("audio"), noun_of("wrist")
    ('sounds', 'wrist')
    """
    return MODALITIES.get(column).noun if column in MODALITIES else column


def leading(passes: Iterable[Mapping[str, float]]) -> str:
    """Return the modality whose passes say what arms look at: pictures, without them the first that is no text.

    >>> leading([{"text": 1, "audio": 2}, {"text": 1}]), leading([{"text": 1}])
    ('audio', 'text')
    """
    there = dict.fromkeys(modality for of_arm in passes for modality in of_arm if modality != PAIR_PASSES)
    return min(there, key=lambda modality: (modality != "image", modality == "text"), default="image")
