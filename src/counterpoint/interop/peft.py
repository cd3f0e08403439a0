"""Export of the low-rank updates of a language model alone, as an adapter of peft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..methods._speaking import SpeakingMethod
from ..methods.tower_method import TowerMethod
from ..networks.towers.chat import EXCHANGE, TOKEN, Chat
from ..networks.weights import TowerSource
from ..raw import Conversation
from ._heads import solid
from ._hugging_face import ModelFiles
from ._layout import Embed, Layout
from ._quiet import quiet

_ADAPTER = "default"
_MAGNITUDE = "lora_magnitude_vector"


class PeftLayout(Layout):
    """The low-rank updates of a language model of transformers, which peft puts onto the model that they are of."""

    form: ClassVar[str] = "the low-rank updates of a language model alone: lm=transformers:…,tune=lora"
    packages: ClassVar[Mapping[str, str]] = {"peft": "peft"}
    library: ClassVar[str] = "peft"
    keeps: ClassVar[tuple[str, ...]] = ("bridge_projections",)  # `leaves_out` says that it does not
    merges: ClassVar[bool] = False
    replies: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if not isinstance(model, SpeakingMethod):
            return f"it embeds {', '.join(model.embeds)} and writes no replies, as a model of sft does"
        if not _updated(model):
            return "its language model has no low-rank updates: train it with tune=lora"
        if TowerSource.parse(model.language.name).library != "transformers":
            return (
                f"the updates are of {model.language.name!r}, which transformers does not load by itself: take "
                "lm=transformers:NAME@PATH"
            )
        return ""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        assert isinstance(model, SpeakingMethod)
        return [
            f"the language model {model.language.name!r}, which the updates are of",
            "the picture tower and the bridge",
        ]

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return ("talk",)

    @quiet()
    @torch.no_grad()
    def write(self, model: TowerMethod, folder: Path) -> None:
        import peft
        from safetensors.torch import save_file

        assert isinstance(model, SpeakingMethod)
        layers = _updated(model)
        first = next(iter(layers.values()))
        peft.LoraConfig(
            task_type="CAUSAL_LM",
            inference_mode=True,
            base_model_name_or_path=_files(model).root,
            r=first.r[_ADAPTER],
            lora_alpha=first.lora_alpha[_ADAPTER],
            use_dora=first.use_dora[_ADAPTER],
            fan_in_fan_out=bool(first.fan_in_fan_out),
            target_modules=sorted(layers),
        ).save_pretrained(folder)
        states = model.language.model.state_dict()
        weights = {_in_peft(name): weight for name, weight in states.items() if "lora_" in name}
        save_file(solid(weights), folder / "adapter_model.safetensors")
        model.language.chat.save(folder / Chat.file)
        model.language.chat.tokenizer.save_pretrained(folder)

    def embed(self, model: TowerMethod, column: str, raw: Sequence[Conversation]) -> Float[Tensor, "n V"]:
        """Return the logits of the token behind each conversation."""
        assert isinstance(model, SpeakingMethod)
        return _logits(model.language.model, model.language.chat, raw)

    @quiet()
    def read(self, folder: Path) -> Embed:
        import peft
        import transformers

        config = peft.PeftConfig.from_pretrained(folder)
        files = ModelFiles.of(TowerSource("transformers", "base", str(config.base_model_name_or_path)))
        assert files is not None
        kind = transformers.AutoModelForCausalLM
        base = kind.from_pretrained(**files.arguments, dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(base, folder).eval()
        chat = Chat.load(folder / Chat.file)

        @torch.no_grad()
        def embed(modality: str, raw: Any) -> Tensor:
            return _logits(model, chat, raw)

        return embed

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        assert isinstance(model, SpeakingMethod)
        return [
            "",
            "import peft",
            "import transformers",
            "",
            f"base = transformers.AutoModelForCausalLM.from_pretrained({Path(_files(model).root).name!r})",
            "model = peft.PeftModel.from_pretrained(base, folder).eval()",
            "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)",
        ]


def _updated(model: SpeakingMethod) -> dict[str, Any]:
    """Return the layers of the language model that have low-rank updates, by their names in it."""
    return {name: part for name, part in model.language.model.named_modules() if hasattr(part, "lora_A")}


def _files(model: SpeakingMethod) -> ModelFiles:
    files = ModelFiles.of(TowerSource.parse(model.language.name))
    assert files is not None, "a language model has files"
    return files


def _in_peft(name: str) -> str:
    """Return the name of a weight as peft writes it.

    >>> _in_peft("model.layers.0.q.lora_A.default.weight"), _in_peft("m.q.lora_magnitude_vector.default.weight")
    ('base_model.model.model.layers.0.q.lora_A.weight', 'base_model.model.m.q.lora_magnitude_vector')
    """
    name = (
        name.removesuffix(f".{_ADAPTER}.weight") if _MAGNITUDE in name else name.replace(f".{_ADAPTER}.", ".")
    )
    return f"base_model.model.{name}"


def _logits(model: Any, chat: Chat, rows: Sequence[Conversation]) -> Float[Tensor, "n V"]:
    talk = chat(rows)
    lengths = (talk[:, EXCHANGE] > 0).sum(1)
    every = model(input_ids=talk[:, TOKEN]).logits  # what follows changes no causal model's state
    return every[torch.arange(len(talk)), lengths - 1]
