"""Models of open_clip: towers, loading, and export to its layout."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from zipfile import ZipFile, is_zipfile

import torch
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..methods.tower_method import TowerMethod, scale_of
from ..networks.base import ImageTower, TextTower, Tokenizer
from ..networks.exported import ExportedTower, Head, NotExportableError, with_head
from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.parts.blocks import dropped_inputs, residual_blocks
from ..networks.towers.parts.pixels import Normalise
from ..networks.weights import WEIGHT_FILES, TowerSource, is_restored
from ..registry import unknown
from ..trust import is_offline
from ..types import Fit
from ._heads import head_of, solid
from ._hugging_face import of_hub
from ._layout import Embed, Layout
from ._loader import TowerLoader
from ._pretrained import Pretrained, pretrained
from ._tokenizer import backend_of, padded, stated
from .timm import place_features

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


_HUB = "hf-hub:"
"""The start of the name of a model on the hub."""
_IMAGE = ("visual",)
_TEXT = ("text", "transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection")
_NEITHER = ("text_decoder", "logit_scale", "logit_bias")
_LAST = {
    "image": ("visual.proj", "visual.attnpool.c_proj", "visual.head.proj", "visual.head.mlp.fc2"),
    "text": ("text.text_projection", "text.proj.2", "text.proj"),
}
"""The last linear map of a half, by the names that it has in one or another kind of model: into the shared space."""


class OpenClipTokenizer:
    """An ``open_clip`` tokenizer, padded to the model's full context, which its text tower needs."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.context: int = tokenizer.context_length
        inner = getattr(tokenizer, "tokenizer", tokenizer)
        self.vocabulary: int = getattr(tokenizer, "vocab_size", None) or len(inner)
        ends = (getattr(inner, name, None) for name in ("eot_token_id", "sep_token_id", "eos_token_id"))
        self.end: int = next((end for end in ends if end is not None), -1)

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        if not captions:
            return torch.zeros(0, self.context, dtype=torch.long)
        return self._tokenizer(list(captions)).long()

    def backend(self) -> Backend:
        """Return the same tokenizer as one of the ``tokenizers`` library, which mends no broken texts.

        Raises:
            LookupError: for one that does more than that library can.
        """
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        backend = backend_of(inner)
        if backend is not None:
            return padded(backend, self.context, int(inner.pad_token_id or 0), self.end, full=True)
        if getattr(inner, "reduction_fn", None) is not None or not hasattr(inner, "bpe_ranks"):
            raise LookupError(f"{type(inner).__name__} does more than the tokenizers library can")
        return padded(_byte_pairs(inner), self.context, 0, self.end, full=True)

    def stated(self) -> str:
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        words = str(inner.encoder) if hasattr(inner, "encoder") else stated(inner)
        cleaned = getattr(getattr(self._tokenizer, "clean_fn", None), "__name__", "")
        return f"{words} {self.context} {cleaned}"

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it: with one place more its end stands elsewhere."""
        one_more: Tensor = self._tokenizer(list(captions), context_length=self.context + 1).long()
        return (one_more[:, :-1] != self(captions)).any(1)


def _byte_pairs(tokenizer: Any) -> Backend:
    """Return open_clip's own tokenizer in the form of the ``tokenizers`` library."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    words = models.BPE(tokenizer.encoder, list(tokenizer.bpe_ranks), end_of_word_suffix="</w>")
    made = Tokenizer(words)
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    lower = [normalizers.Lowercase()] if tokenizer.clean_fn("A") == "a" else []
    made.normalizer = normalizers.Sequence([normalizers.NFC(), *spaces, *lower])
    pieces = Regex(r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pieces, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (tokenizer.decoder[i] for i in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    ids = [(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)]
    made.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}", special_tokens=ids)
    return made


class OpenClipImage(ImageTower):
    """The image half of an ``open_clip`` model with its projection: ``encode_image`` before normalisation."""

    projected = True

    def __init__(self, model: nn.Module) -> None:
        from open_clip.model import get_model_preprocess_cfg
        from open_clip.transform import PreprocessCfg

        super().__init__()
        preprocessing = asdict(PreprocessCfg()) | get_model_preprocess_cfg(model)
        size = preprocessing["size"]
        height, width = size if isinstance(size, tuple | list) else (size, size)
        if height != width:
            raise ValueError(f"it takes pictures of {height}×{width} pixels; only square ones are supported")
        self.size = height
        self.fit = Fit(
            height,
            height,
            preprocessing["resize_mode"],
            "bilinear" if preprocessing["interpolation"] == "bilinear" else "bicubic",
            (int(preprocessing["fill_color"]),) * 3,
        )
        self.normalise = Normalise(preprocessing["mean"], preprocessing["std"])
        self.preprocessing = preprocessing
        self.scale = _scale(model)
        self.model = _without(model, (*_TEXT, *_NEITHER))
        self.weights_set = True
        was_training = self.training
        with torch.no_grad():
            self.width = self.eval()(torch.zeros(1, 3, self.size, self.size)).shape[1]
        self.train(was_training)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        return self.model.encode_image(self.normalise(images), normalize=False)  # type: ignore[operator]

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        """Return the last states of patches in place of the class token's, or places of a ``timm`` trunk.

        Where the class token is what was trained, patches need not say what they show.
        """
        visual: Any = self.model.visual
        x = self.normalise(images)
        if hasattr(visual, "trunk") and not hasattr(visual.head, "pool"):
            maps = place_features(visual.trunk, x)
            projected: Tensor = visual.head(maps.permute(0, 2, 3, 1).flatten(0, 2))
            return projected.view(len(x), *maps.shape[2:], -1).permute(0, 3, 1, 2)
        if not hasattr(visual, "ln_post") or visual.attn_pool is not None:
            return super().patches(images)
        intermediates = visual.forward_intermediates(
            x, indices=1, normalize_intermediates=True, intermediates_only=True
        )
        maps = intermediates["image_intermediates"][0]
        return maps if visual.proj is None else torch.einsum("bchw,cd->bdhw", maps, visual.proj)

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its last linear map."""
        config, weights = _half("image", self.model, head)
        kept = ("mean", "std", "interpolation", "resize_mode", "fill_color")
        preprocessing = {name: self.preprocessing[name] for name in kept}
        return ExportedTower(config, weights, preprocessing, scale=self.scale)


class OpenClipText(TextTower):
    """The text half of an ``open_clip`` model with its projection: ``encode_text`` before normalisation."""

    projected = True
    pooling = None

    def __init__(self, model: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = _without(model, (*_IMAGE, *_NEITHER))
        self.weights_set = True
        was_training = self.training
        with torch.no_grad():
            self.width = self.eval()(tokenizer([""])).shape[1]
        self.train(was_training)

    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        p = dropout if self.training else 0.0
        with dropped_inputs(residual_blocks(self.model) if p > 0 else (), p):
            features: Tensor = self.model.encode_text(tokens, normalize=False)  # type: ignore[operator]
        return features

    def with_vectors(
        self, tokens: Int[Tensor, "B L"], vectors: Float[Tensor, "B M w"], positions: Int[Tensor, "B M"]
    ) -> Float[Tensor, "B width"]:
        """Return what `TextTower.with_vectors` does, computed up to the longest caption where attention is causal."""
        part: Any = self.model if hasattr(self.model, "positional_embedding") else self.model.text
        pooling = getattr(part, "text_pool_type", getattr(part, "pool_type", ""))
        mask = getattr(part, "attn_mask", None)
        if pooling not in ("argmax", "eos") or mask is None or getattr(part, "cls_emb", None) is not None:
            return super().with_vectors(tokens, vectors, positions)
        length = int((tokens == self.tokenizer.end).long().argmax(1).max()) + 1
        shorter = {
            "positional_embedding": part.positional_embedding[:length],
            "attn_mask": mask[:length, :length],
        }
        # An attribute of the module itself comes before a parameter or a buffer of the same name.
        part.__dict__.update(shorter)
        try:
            return super().with_vectors(tokens[:, :length], vectors, positions)
        finally:
            for name in shorter:
                del part.__dict__[name]

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the half as it came, a head put into its last linear map, with the tokenizer where it is a file."""
        config, weights = _half("text", self.model, head)
        tokenizer: Any = self.tokenizer
        hf_tokenizer = getattr(
            tokenizer._tokenizer, "tokenizer", None
        )  # of transformers; open_clip's own needs no file
        encoder = getattr(self.model.text, "config", None) if "hf_model_name" in config["text_cfg"] else None
        if hf_tokenizer is not None:
            config["text_cfg"] = {**config["text_cfg"], "hf_tokenizer_name": "."}

        def save(folder: Path) -> None:
            if hf_tokenizer is not None:
                hf_tokenizer.save_pretrained(folder)
            if encoder is not None:
                encoder.save_pretrained(folder)

        return ExportedTower(config, weights, save=save)


def open_clip_model(
    source: TowerSource, seed: int, text_layers: int | None = None
) -> tuple[nn.Module, OpenClipTokenizer]:
    """Read or build the whole model and its tokenizer: random weights, ``@PATH`` or ``@TAG``.

    With ``text_layers`` the text tower has so many layers, where the model's configuration says how many.

    A path may be a file of weights for a model that ``open_clip`` knows, or a folder with
    ``open_clip_config.json`` and weights, whatever the model is called.

    Raises:
        UnknownNameError: for a model or a tag that ``open_clip`` does not have.
        ValueError: for weights that are missing, broken or do not fit.
    """
    import open_clip

    path, tag = source.path, None
    folder = path is not None and path.is_dir()
    if not folder and not source.name.startswith(_HUB) and source.name not in open_clip.list_models():
        raise unknown("open_clip model", source.name, open_clip.list_models())
    if source.weights is not None and path is None and not source.name.startswith(_HUB):
        tag = source.weights
        tags = open_clip.list_pretrained_tags_by_model(source.name)
        if tag not in tags:
            raise unknown(f"weights of open_clip:{source.name}", tag, tags)
        check_activation(source, tag)
    if path is not None and not folder and not is_restored():
        check_form(source, path)
    name = f"local-dir:{path}" if folder else source.name
    changes: dict[str, Any] = {}
    if text_layers is not None:
        text = (open_clip.get_model_config(source.name) or {}).get("text_cfg", {})
        if "layers" not in text:
            raise ValueError(
                f"towers.text_layers={text_layers}: {source} does not say how deep its text tower is"
            )
        changes["text_cfg"] = {**text, "layers": text_layers}
    if folder and path is not None:
        changes |= _saved_config(path)
    with source.reading(), _quiet(), seeded(seed, f"open_clip:{source.name}"):
        model = open_clip.create_model(
            name,
            pretrained=tag or (str(path) if path and not folder else None),
            require_pretrained=source.weights is not None and not is_restored(),
            pretrained_text=False,  # never half of a model: all weights or none
            **changes,
        )
        if path is not None and not is_restored():
            check_positions(model, path)
        model.stated = (open_clip.get_model_config(name) or {}) | changes
        return model, OpenClipTokenizer(open_clip.get_tokenizer(name))


def _scale(model: Any) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities of a whole model; None of half of one."""
    if getattr(model, "logit_scale", None) is None:
        return None
    bias = getattr(model, "logit_bias", None)
    shift = None if bias is None else float(bias.detach().mean())
    return float(model.logit_scale.detach().exp().mean()), shift


def _half(half: str, model: nn.Module, head: Head) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a half's entries in open_clip's configuration, and its weights by the names in its model of two towers.

    Raises:
        NotExportableError: for a head where the half ends in no linear map.
    """
    stated: dict[str, Any] = getattr(model, "stated", {})
    section = "vision_cfg" if half == "image" else "text_cfg"
    config = {
        section: {**stated[section], "output_tokens": False},
        "quick_gelu": bool(stated.get("quick_gelu")),
        "custom_text": bool(stated.get("custom_text")) or "hf_model_name" in stated["text_cfg"],
    }
    weights = dict(model.state_dict())
    if half == "text":
        weights = {n if n.startswith("text.") else f"text.{n}": weight for n, weight in weights.items()}
    return config, with_head(weights, head, _LAST[half], f"open_clip's {half} half")


def _saved_config(folder: Path) -> dict[str, Any]:
    """Return the change of a folder's configuration that names the folder itself for a text encoder that lies in it.

    open_clip finds such an encoder by its name alone, which is a path that another machine may not have.
    """
    file = folder / "open_clip_config.json"
    stated = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    text = stated.get("model_cfg", {}).get("text_cfg", {})
    if "hf_model_name" not in text or not (folder / "config.json").is_file():
        return {}
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


def _without(model: nn.Module, parts: Sequence[str]) -> nn.Module:
    """Copy the model without some of its parts."""
    model = copy.copy(model)
    model._parameters, model._modules = dict(model._parameters), dict(model._modules)
    for part in parts:
        if part in model._parameters or part in model._modules:
            delattr(model, part)
    return copy.deepcopy(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ``open_clip``'s warning that a model that was asked to be random is random."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def check_activation(source: TowerSource, tag: str) -> None:
    """Check that a model computes the activation that its published weights were trained with.

    Raises:
        ValueError: if not; open_clip itself only warns.
    """
    import open_clip

    trained = bool(open_clip.get_pretrained_cfg(source.name, tag).get("quick_gelu"))
    if trained != bool((open_clip.get_model_config(source.name) or {}).get("quick_gelu")):
        plain = source.name.removesuffix("-quickgelu")
        raise ValueError(
            f"tower {source}: these weights were trained with {'QuickGELU' if trained else 'GELU'}, and the model has "
            f"the other; write open_clip:{plain}{'-quickgelu' if trained else ''}@{tag}"
        )


def check_form(source: TowerSource, file: Path) -> None:
    """Refuse an archive of TorchScript, the form in which OpenAI publishes its weights: code, and weights of QuickGELU.

    Other files of weights show nothing of the activation that they were trained with.

    Raises:
        ValueError: naming the model that has it.
    """
    if not is_zipfile(file):
        return
    with ZipFile(file) as archive:
        if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return
    model = f"open_clip:{source.name.removesuffix('-quickgelu')}-quickgelu"
    saved = f"torch.save(open_clip.load_openai_model({str(file)!r}, 'fp32').state_dict(), 'weights.pt')"
    raise ValueError(
        f"tower {source}: this is an archive of TorchScript, which holds code and is not read here; OpenAI publishes "
        f"its models so, which were trained with QuickGELU: write {model}@openai, or save the weights of one, "
        f'python -c "import open_clip, torch; {saved}", and write {model}@weights.pt'
    )


def check_positions(model: nn.Module, path: Path) -> None:
    """Check that weights are of the model's own lengths of texts; open_clip stretches others without a word.

    Raises:
        ValueError: if they are not.
    """
    file = path
    if path.is_dir():
        names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        file = next((path / name for name in names if (path / name).is_file()), path)
    rows = _rows(file, ("positional_embedding", "text.positional_embedding"))
    # Of classes of open_clip's own, some of which keep it in their tower of texts alone.
    context = getattr(model, "context_length", None) or getattr(
        getattr(model, "text", None), "context_length", None
    )
    if rows is not None and context is not None and rows != context:
        raise ValueError(
            f"the weights are of a model of texts of {rows} tokens, and this one reads {context}"
        )


def _rows(file: Path, names: Sequence[str]) -> int | None:
    """Return the length of the first of some tensors that a file of weights has; None where that is not known."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as opened:
            first = next((name for name in names if name in opened.keys()), None)  # noqa: SIM118 # it is no mapping
            return None if first is None else int(opened.get_slice(first).get_shape()[0])
    try:
        state = torch.load(file, map_location="meta", weights_only=True)
    except Exception:  # an older form, which open_clip read in its own way
        return None
    state = state.get("state_dict", state)
    first = next((key for name in names for key in (name, f"module.{name}") if key in state), None)
    return None if first is None else len(state[first])


class OpenClipLoader(TowerLoader):
    """A pair of open_clip: published weights by their tag, a file of weights, or a folder."""

    form: ClassVar[str] = "open_clip:NAME@TAG or open_clip:NAME@PATH"
    library = "open_clip"
    modalities = ("image", "text")
    embeds = ("image", "text")
    has_text_layers = True

    def build(self, modality: str, source: TowerSource, start: Start) -> OpenClipImage | OpenClipText:
        whole = start.sizes.image == start.sizes.text
        layers = start.sizes.text_layers if whole or start.name == start.sizes.text else None
        # Both towers are of one model, which is read once.
        model, tokenizer = start.once(source, lambda: open_clip_model(source, start.seed, layers))
        with source.reading():
            return OpenClipImage(model) if modality == "image" else OpenClipText(model, tokenizer)

    def is_built_by_name(self, source: TowerSource) -> bool:
        weights = source.weights or ""
        return Path(weights).suffix in WEIGHT_FILES or not (Path(weights).is_dir() or "/" in weights)

    def configuration(self, source: TowerSource) -> Path | None:
        if source.name.startswith(_HUB):
            file = of_hub(source.name.removeprefix(_HUB), "open_clip_config.json", local=is_offline())
            return None if file is None else file.parent
        return source.path if source.path is not None and source.path.is_dir() else None

    def holds(self, folder: Path) -> bool:
        return (folder / "open_clip_config.json").is_file()

    def towers(self, name: str) -> str:
        return str(self._source(name)) if self.holds(Path(name)) else f"open_clip:{name}"

    def load(self, name: str) -> Pretrained:
        source = self._source(name)
        if source.weights is None and not source.name.startswith(_HUB):
            import open_clip

            if source.name not in open_clip.list_models():
                raise unknown("open_clip model", source.name, open_clip.list_models())
            tags = open_clip.list_pretrained_tags_by_model(source.name)
            raise ValueError(
                f"{source} names no weights; write @PATH, or @TAG, one of {', '.join(tags) or 'none'}"
            )
        return pretrained(source, _command(source))

    def _source(self, name: str) -> TowerSource:
        folder = self.holds(Path(name))
        return TowerSource("open_clip", "folder", name) if folder else TowerSource.parse(f"open_clip:{name}")


def _command(source: TowerSource) -> str:
    """Return the command that fetches published weights."""
    import open_clip

    if source.name.startswith(_HUB):
        return f"hf download {source.name.removeprefix(_HUB)}"
    published = open_clip.get_pretrained_cfg(source.name, source.weights or "")
    repository, address = published.get("hf_hub", "").rstrip("/"), published.get("url", "")
    if repository:
        return f"hf download {repository}"
    return f"curl -LO {address} and write @ the file"


CONFIG = "open_clip_config.json"


class OpenClipLayout(Layout):
    """A tower of pictures and one of texts: ``open_clip.create_model_and_transforms("local-dir:FOLDER")``."""

    form: ClassVar[str] = "both towers; open_clip"
    library: ClassVar[str] = "open_clip"
    keeps_scale: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        try:
            _whole(model)
        except NotExportableError as error:
            return str(error)
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        text = model.text_tower.in_open_clip(head_of(model, _column(model, "text"))).config["text_cfg"]
        if "hf_tokenizer_name" not in text:
            return ()
        return ["texts as they are: open_clip repairs their characters and joins spaces"]

    def write(self, model: TowerMethod, folder: Path) -> None:
        image, text, config = _whole(model)
        weights = solid({**image.weights, **text.weights})
        if not config["custom_text"]:
            weights = {name.removeprefix("text."): weight for name, weight in weights.items()}
        scale, bias = scale_of(model) or image.scale or (1 / 0.07, None)
        weights["logit_scale"] = torch.tensor(math.log(scale))
        if bias is not None:
            weights["logit_bias"] = torch.tensor(bias)
            config["init_logit_bias"] = bias
        save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
        _write(folder, {"model_cfg": config, "preprocess_cfg": dict(image.preprocessing)})
        for half in (image, text):
            half.save(folder)

    def read(self, folder: Path) -> Embed:
        import open_clip

        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        model, tokenizer = model.eval(), open_clip.get_tokenizer(f"local-dir:{folder}")

        def embed(modality: str, raw: Any) -> Tensor:
            if modality == "image":
                return model.encode_image(torch.stack([transform(picture) for picture in raw]))
            return model.encode_text(tokenizer(list(raw)))

        return embed

    def custom_code(self, model: TowerMethod) -> str:
        architecture = _whole(model)[2]["vision_cfg"].get("timm_model_name", "")
        if architecture.startswith("counterpoint_cut"):
            return f"its picture tower {model.image_tower.name}, which open_clip cannot build for this size"
        return (
            f"its picture tower {model.image_tower.name}" if architecture.startswith("counterpoint_") else ""
        )

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        hf_text = "hf_model_name" in _whole(model)[2]["text_cfg"]
        where = ["# Where the folder has moved: set hf_model_name in open_clip_config.json to its place."]
        return [
            "",
            "import open_clip",
            *(
                ["import counterpoint  # registers the picture tower with timm"]
                if self.custom_code(model)
                else []
            ),
            "",
            *(where if hf_text else []),
            'model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")',
            'tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")',
            'text_vectors = model.eval().encode_text(tokenizer(["a red car"]), normalize=True)',
            f"image_vectors = model.encode_image(transform({picture})[None], normalize=True)",
        ]

    def settle(self, folder: Path, location: str) -> None:
        """Name the folder itself where open_clip looks for the configuration of a text encoder of transformers."""
        written = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        text = written["model_cfg"]["text_cfg"]
        for name in ("hf_model_name", "hf_tokenizer_name"):
            if name in text:
                text[name] = location
        _write(folder, written)


def _whole(model: TowerMethod) -> tuple[ExportedTower, ExportedTower, dict[str, Any]]:
    """Return both towers in open_clip's words, and the configuration of the whole.

    Raises:
        NotExportableError: for a model that is not of pictures and texts, and towers that open_clip cannot have
            together.
    """
    modalities = [model.tower(column).modality for column in model.embeds]
    if sorted(modalities) != ["image", "text"]:
        raise NotExportableError(
            f"open_clip's models embed pictures and texts, and this one {' and '.join(modalities)}"
        )
    columns = (_column(model, "image"), _column(model, "text"))
    heads = [head_of(model, column) for column in columns]
    image, text = (model.tower(c).in_open_clip(head) for c, head in zip(columns, heads, strict=True))
    activations = {half.config["quick_gelu"] for half in (image, text) if "quick_gelu" in half.config}
    if len(activations) > 1:
        raise NotExportableError("open_clip has one GELU for both towers, and one of these has QuickGELU")
    config = {
        "embed_dim": heads[0].width,
        "vision_cfg": dict(image.config["vision_cfg"]),
        "text_cfg": dict(text.config["text_cfg"]),
        "quick_gelu": activations == {True},
        # One of open_clip's own pairs stays the kind of model that it was.
        "custom_text": any(half.config.get("custom_text", True) for half in (image, text)),
    }
    return image, text, config


def _column(model: TowerMethod, modality: str) -> str:
    return next(column for column in model.embeds if model.tower(column).modality == modality)


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
