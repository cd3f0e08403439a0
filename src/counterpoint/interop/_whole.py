"""A LLaVA of transformers in parts: a vision model, a projector and a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..networks.init import seeded
from ..networks.towers.build import Start
from ..networks.towers.chat import Chat
from ..networks.towers.language import LanguageTower
from ..networks.weights import TowerSource
from ._hugging_face import ModelFiles
from ._quiet import quiet


@quiet()
def whole_llava(source: TowerSource, files: ModelFiles, start: Start | None = None) -> Any:
    """Return a LLaVA, which is read once for both towers of a run.

    Raises:
        ValueError: for one that reads several layers of its vision model, and weights that are missing.
    """
    import transformers

    def read() -> Any:
        kind = transformers.LlavaForConditionalGeneration
        config = transformers.AutoConfig.from_pretrained(**files.arguments)
        if not isinstance(config.vision_feature_layer, int):
            raise ValueError("it reads several layers of its vision model, and one is known")
        if source.weights is None:
            with seeded(start.seed if start else 0, str(source)):
                return kind(config).eval()
        arguments = {**files.arguments, "dtype": torch.float32, "output_loading_info": True}
        model, report = kind.from_pretrained(**arguments)
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"the weights lack {', '.join(missing[:5])} ({len(missing)} in all)")
        return model.eval()

    return start.once(("llava", files), read) if start else read()


def language_of_llava(source: TowerSource, files: ModelFiles, start: Start) -> LanguageTower:
    """Return the language model of a LLaVA with its tokenizer, and its processor's chat template.

    Raises:
        ValueError: for a chat template that Chat refuses.
    """
    import transformers

    whole = whole_llava(source, files, start)
    processor = transformers.AutoProcessor.from_pretrained(**files.arguments)
    tokenizer = processor.tokenizer
    tokenizer.chat_template = processor.chat_template or tokenizer.chat_template
    chat = Chat(tokenizer, start.sizes.talk_context, str(processor.image_token))
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(whole.config.text_config)
    setattr(model, model.base_model_prefix, whole.model.language_model)
    model.set_output_embeddings(whole.lm_head)
    return LanguageTower(model.eval(), chat)


def bridge_kind(folder: Path) -> str:
    """Return the bridge that the projector of a LLaVA's folder is.

    Raises:
        ValueError: for another activation between its layers.
    """
    config = ModelFiles(str(folder)).config
    act = config.get("projector_hidden_act", "gelu")
    kinds = {"gelu": "mlp", "linear": "linear"}
    if act not in kinds:
        raise ValueError(f"{folder}: the activation of its projector is {act}; known are {', '.join(kinds)}")
    return kinds[act]


def projector(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a LLaVA's projector, by their names in the bridge that it is."""
    source = TowerSource("transformers", "llava", str(folder))
    with source.reading():
        made = whole_llava(source, ModelFiles(str(folder))).model.multi_modal_projector
        first, second = made.linear_1, made.linear_2
        if bridge_kind(folder) == "linear":
            bias = second(first.bias) if first.bias is not None else second.bias
            weights = {"linear.weight": second.weight @ first.weight, "linear.bias": bias}
        else:
            weights = {
                "up.weight": first.weight,
                "up.bias": first.bias,
                "down.weight": second.weight,
                "down.bias": second.bias,
            }
        return {
            name: torch.zeros(weights[f"{name.rpartition('.')[0]}.weight"].shape[0])
            if it is None
            else it.detach()
            for name, it in weights.items()
        }
