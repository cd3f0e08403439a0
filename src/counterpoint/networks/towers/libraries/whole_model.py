"""Models of ``transformers`` with all their weights."""

from __future__ import annotations

from typing import Any

from .hugging_face import ModelFiles


def whole_model(files: ModelFiles, kind: str = "AutoModel") -> Any:
    """Return a model with all the weights that its configuration asks for; poolers may lack theirs.

    Args:
        files: of the model.
        kind: the class of transformers that reads it.

    Raises:
        ValueError: for weights that are missing.
    """
    import transformers

    # Weights on this machine are read in a moment, and a bar would stand in the way of ours.
    transformers.utils.logging.disable_progress_bar()
    of_kind = getattr(transformers, kind)
    model, report = of_kind.from_pretrained(**files.arguments, output_loading_info=True)
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ValueError(f"the weights lack {', '.join(missing[:5])} ({len(missing)} in all)")
    if files.gguf_file:
        # Its weights are float32 by now, but it counts as quantised for good: it could not be trained or written.
        config = type(model.config).from_dict(model.config.to_dict() | {"quantization_config": None})
        plain = type(model)(config)
        plain.load_state_dict(model.state_dict())
        return plain
    return model
