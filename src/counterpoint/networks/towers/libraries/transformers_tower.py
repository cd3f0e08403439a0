"""Any text encoder of ``transformers``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from ....registry import unknown
from ...base import Pooling, TextTower, Tokenizer
from ...init import seeded
from ...weights import Source
from ..parts.blocks import dropped_inputs, residual_blocks
from ..parts.pooling import inside, pool
from ..tokenizer import BytePairTokenizer
from .hugging_face import Place
from .told import Head, Told, Untold

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


class TransformersTokenizer:
    """A ``transformers`` tokenizer whose captions all end in one end token and are padded on the right.

    A caption that holds the name of a special token is text like any other.

    Args:
        tokenizer: of ``transformers``.
        context: the most tokens a caption may have.
        full: pad all captions to the context, for a model that was trained so.

    Attributes:
        begins_with_end: whether captions begin with the end token too.
    """

    def __init__(self, tokenizer: Any, context: int, *, full: bool = False) -> None:
        ends = (tokenizer.sep_token_id, tokenizer.eos_token_id)
        end = next((i for i in ends if i is not None), None)
        if end is None:
            raise ValueError("its tokenizer has neither a separator nor an end token to end captions with")
        self._tokenizer, self._full = tokenizer, full
        self.context, self.vocabulary, self.end = context, len(tokenizer), int(end)
        self._pad = int(self.end if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        self.begins_with_end: bool = tokenizer("a")["input_ids"][0] == self.end

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        if not captions:
            return torch.zeros(0, self.context, dtype=torch.long)
        rows = self._tokenizer(
            list(captions), truncation=True, max_length=self.context, split_special_tokens=True
        )["input_ids"]
        least = 2 if self.begins_with_end else 1
        ended = (len(r) >= least and r[-1] == self.end for r in rows)
        rows = [r if e else [*r[: self.context - 1], self.end] for r, e in zip(rows, ended, strict=True)]
        longest = self.context if self._full else max(map(len, rows))
        return torch.tensor([r + [self._pad] * (longest - len(r)) for r in rows])

    def check(self) -> None:
        """Check that texts get the ids which the library's own tokenizer gives them.

        Raises:
            ValueError: where they do not: it ends texts in another way.
        """
        for text in ("a red car", "two dogs play on the beach " * self.context):
            padding = "max_length" if self._full else False
            given = self._tokenizer(text, truncation=True, max_length=self.context, padding=padding)
            own = given["input_ids"]
            if self([text])[0].tolist() != own:
                raise ValueError(
                    f"its tokenizer ends or pads texts in a way that is not known here: {own[:1]} … {own[-2:]}"
                )

    def backend(self) -> Backend:
        """Return the same tokenizer as one of the ``tokenizers`` library.

        Raises:
            LookupError: for one that is not built on that library.
        """
        own = getattr(self._tokenizer, "backend_tokenizer", None)
        if own is None:
            raise LookupError(f"{type(self._tokenizer).__name__} is not built on the tokenizers library")
        return padded(own, self.context, self._pad, self.end, full=self._full)

    @property
    def padding(self) -> int:
        """The id of padding."""
        return self._pad

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that ``transformers`` reads the tokenizer from; texts are as long as they are here."""
        kept, self._tokenizer.model_max_length = self._tokenizer.model_max_length, self.context
        self._tokenizer.save_pretrained(folder)
        self._tokenizer.model_max_length = kept

    def stated(self) -> str:
        return f"{stated(self._tokenizer)} {self.context} {self.end} {self._pad} {self._full}"

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it."""
        rows = self._tokenizer(list(captions), truncation=False, split_special_tokens=True)["input_ids"]
        return torch.tensor([len(r) + (r[-1:] != [self.end]) > self.context for r in rows])


def padded(own: Backend, context: int, pad: int, end: int, *, full: bool) -> Backend:
    """Return a copy of a tokenizer that cuts texts to a context, ends them all in one token and pads them.

    Args:
        own: the tokenizer.
        context: the most tokens of a text.
        pad, end: ids.
        full: whether every text is as long as the context; else texts are as long as the longest beside them.
    """
    from tokenizers import Tokenizer, processors

    copy = Tokenizer.from_str(own.to_str())
    copy.no_truncation()
    copy.no_padding()
    if copy.encode("a").ids[-1:] != [end]:
        name = copy.id_to_token(end)
        ending = processors.TemplateProcessing(single=f"$A {name}", special_tokens=[(name, end)])
        before = copy.post_processor
        copy.post_processor = ending if before is None else processors.Sequence([before, ending])
    copy.enable_truncation(max_length=context)
    copy.enable_padding(pad_id=pad, pad_token=copy.id_to_token(pad), length=context if full else None)
    return copy


def stated(tokenizer: Any) -> str:
    """Return all that a tokenizer of ``transformers`` does, as a text; how it was last called does not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return str(sorted(tokenizer.get_vocab().items()))
    return json.dumps({**json.loads(backend.to_str()), "truncation": None, "padding": None})


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

    def in_open_clip(self, head: Head) -> Told:
        """Return the encoder as open_clip holds one of transformers, which it reads from the same folder."""
        from open_clip.hf_configs import arch_dict

        config: Any = self.model.config
        head = self.below(head)
        kind, padding = config.model_type, getattr(self.tokenizer, "padding", 0)
        way = _OPEN_CLIP.get(self.pooling) if self.pooling is not None else None
        if kind not in arch_dict or way is None or head.bias is not None:
            raise Untold(
                f"open_clip takes text encoders of the kinds {', '.join(sorted(arch_dict))}, read at their first token "
                f"or as the mean, under a head without bias; this is {kind!r}, read by {self.pooling!r}"
            )
        if config.pad_token_id != padding:
            raise Untold(
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
        return Told({"text_cfg": text}, {**weights, "text.proj.weight": head.weight}, save=self._save)

    def _untold(self, library: str) -> Untold:
        return Untold(
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
    source: Source,
    context: int,
    seed: int,
    train_tokenizer: Callable[[], Tokenizer],
    pooling: Pooling | None = None,
) -> TransformersTower | ProjectedText:
    """Build ``transformers:NAME``: random; ``@PATH``: weights of a folder; ``@hub``: those of the hub's NAME.

    ``@package``: weights of a Python package that is installed (`counterpoint.networks.towers.libraries.packaged`).

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
        UnknownName: for a kind of model that ``transformers`` does not have.
        MissingPackage: for weights in a package that is not installed.
        ValueError: for weights that are missing, broken or incomplete, or a context longer than the model's.
    """
    import transformers

    name, kinds = source.name, transformers.CONFIG_MAPPING.keys()
    place = None if source.weights is None and name in kinds else Place.of(source)
    if place is None and name not in kinds:
        raise unknown("transformers model", name, kinds)
    with source.reading():
        tokenizer: Tokenizer
        if place is None:
            tokenizer = train_tokenizer()
            special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": tokenizer.end}
            config = transformers.AutoConfig.for_model(name, vocab_size=tokenizer.vocabulary, **special)
        else:
            own = transformers.AutoTokenizer.from_pretrained(**place.given)
            tokenizer = TransformersTokenizer(own, context)
            config = transformers.AutoConfig.from_pretrained(**place.given)
        config = getattr(config, "text_config", config)
        limit = getattr(config, "max_position_embeddings", None)
        if isinstance(limit, int) and 0 < limit < context:
            raise ValueError(f"context={context} is more than the {limit} tokens this model takes")
        made = next(iter(getattr(config, "architectures", None) or ()), "")
        if place is not None and source.weights is not None and made.endswith("TextModelWithProjection"):
            return ProjectedText(whole_model(place, made).float(), tokenizer)
        with seeded(seed, f"transformers:{name}"):
            if source.weights is None or place is None:
                model = transformers.AutoModel.from_config(config)
            else:
                model = whole_model(place)
        said = None if place is None else _sentence_pooling(place)
        pooling = pooling or said or _default_pooling(config.model_type)
        dense = None if place is None else _dense(place)
        return TransformersTower(_encoder(model).float(), tokenizer, pooling, dense)


def whole_model(place: Place, kind: str = "AutoModel") -> Any:
    """Return a model with all the weights that its configuration asks for; poolers may lack theirs.

    Args:
        place: of its files.
        kind: the class of transformers that reads it.

    Raises:
        ValueError: for weights that are missing.
    """
    import transformers

    # Weights on this machine are read in a moment, and a bar would stand in the way of ours.
    transformers.utils.logging.disable_progress_bar()
    of_kind = getattr(transformers, kind)
    model, report = of_kind.from_pretrained(**place.given, output_loading_info=True)
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(f"the weights lack {', '.join(missing[:5])} ({len(missing)} in all)")
    if place.packed:
        # Its weights are float32 by now, but it counts as quantised for good: it could not be trained or written.
        config = type(model.config).from_dict(model.config.to_dict() | {"quantization_config": None})
        plain = type(model)(config)
        plain.load_state_dict(model.state_dict())
        return plain
    return model


def _encoder(model: Any) -> nn.Module:
    """Return the part that reads text: a dual model's text half, a translation model's encoder; no unused pooler."""
    model = getattr(model, "text_model", model)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = None
    return model


_MODES: dict[str, Pooling] = {
    "cls": "first",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "weighted_mean",
    "lasttoken": "end",
}
"""Names of the poolings in ``sentence-transformers``, and their names here."""


def pooling_in_sentence_transformers(tower: TextTower) -> str:
    """Return the name that sentence-transformers has for a tower's pooling.

    Raises:
        Untold: for a tower that has a way of its own.
    """
    named = next((name for name, pooling in _MODES.items() if pooling == tower.pooling), None)
    if named is None:
        raise Untold(f"sentence-transformers has no name for the pooling {tower.pooling!r}")
    return named


_ADDED = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "weightedmean": "weightedmean_tokens",
}
"""Names of some poolings in ``sentence-transformers`` before version 6, each a key ``pooling_mode_…`` of its own."""


def _sentence_pooling(place: Place) -> Pooling | None:
    """Return what a ``sentence-transformers`` folder says about pooling; None where it is none.

    Raises:
        ValueError: if it pools in a way that is not known here, or does more than pool.
    """
    listed = place.json("modules.json")
    kinds = [(str(m["type"]).rpartition(".")[2], str(m["path"])) for m in listed or ()]
    further = sorted({kind for kind, _ in kinds} - {"Transformer", "Pooling", "Dense", "Normalize"})
    if further:
        raise ValueError(f"its sentence encoder has parts that are not read here: {', '.join(further)}")
    folder = next((path for kind, path in kinds if kind == "Pooling"), "1_Pooling")
    settings = place.json(f"{folder}/config.json")
    if settings is None:
        return None
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for mode in _MODES if settings.get(f"pooling_mode_{_ADDED.get(mode, mode)}")] or "mean"
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in _MODES:
        raise ValueError(
            f"its sentence encoder pools by {' and '.join(modes)}; here by one of {', '.join(_MODES)} alone"
        )
    return _MODES[modes[0]]


def _dense(place: Place) -> nn.Linear | None:
    """Return the linear layer that a ``sentence-transformers`` folder puts after the pooling; None where there is none.

    Raises:
        ValueError: for several, and for one that is not linear or reads something else.
    """
    listed = place.json("modules.json") or ()
    folders = [str(m["path"]) for m in listed if str(m["type"]).endswith(".Dense")]
    if not folders:
        return None
    settings = place.json(f"{folders[0]}/config.json") or {}
    activation = str(settings.get("activation_function", "")).rpartition(".")[2]
    plain = settings.get("module_input_name", "sentence_embedding") == "sentence_embedding"
    if len(folders) > 1 or activation != "Identity" or settings.get("use_residual") or not plain:
        raise ValueError(
            f"its sentence encoder has parts that are not read here: Dense ({activation}, {len(folders)} in all)"
        )
    weights = load_file(place.file(f"{folders[0]}/model.safetensors"))
    layer = nn.Linear(settings["in_features"], settings["out_features"], bool(settings["bias"]))
    layer.load_state_dict({name.removeprefix("linear."): weight for name, weight in weights.items()})
    return layer


def _default_pooling(kind: str) -> Pooling:
    from transformers.models.auto import modeling_auto

    if kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "mean" if kind == "t5" else "first"
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind.endswith("clip_text_model")
    return "end" if causal else "mean"
