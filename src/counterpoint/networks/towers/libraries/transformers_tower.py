"""Any text encoder of ``transformers``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from ....registry import unknown
from ...base import Pooling, TextTower, Tokenizer
from ...init import seeded
from ...weights import TowerSource
from ..parts.blocks import dropped_inputs, residual_blocks
from ..parts.pooling import inside, pool
from ..tokenizer import BytePairTokenizer
from .exported import ExportedTower, Head, NotExportableError
from .hugging_face import ModelFiles
from .sentence_encoder import dense_of, pooling_of
from .transformers_tokenizer import TransformersTokenizer
from .whole_model import whole_model


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
