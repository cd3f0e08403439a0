"""Export to a LLaVA of transformers: a vision model, a projector and a language model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..methods._speaking import SpeakingMethod
from ..methods.tower_method import TowerMethod
from ..networks.bridges.linear import LinearBridge
from ..networks.bridges.mlp import MLPBridge
from ..networks.tiny_vlm import IMAGE
from ..raw import Exchange
from ._heads import solid
from ._layout import Embed, Layout
from ._quiet import quiet
from ._vision import TransformersVision

REQUEST = "What is in the picture?"
"""The request whose next token is compared."""
_READING = ("given", "shown", "next_logits")
"""Steps from patches to logits, which a LLaVA takes in one way."""
_FLATTENED = (
    "{% set flat = namespace(messages=[]) %}{% for message in messages %}"
    "{% set said = namespace(text='') %}"
    "{% if message['content'] is string %}{% set said.text = message['content'] %}{% else %}"
    "{% for part in message['content'] %}"
    "{% set said.text = said.text + ('" + IMAGE + "' if part['type'] == 'image' else part['text']) %}"
    "{% endfor %}{% endif %}"
    "{% set flat.messages = flat.messages + [{'role': message['role'], 'content': said.text}] %}"
    "{% endfor %}{% set messages = flat.messages %}"
)
"""Pictures and texts of a message as one text, in front of a template that takes texts alone."""


class LlavaLayout(Layout):
    """A picture tower and a language model of transformers behind ``bridge=linear`` or ``bridge=mlp``, as a LLaVA.

    A linear bridge is a projector whose second layer is the identity. The chat template is that of the language model;
    ``<image>`` stands in front of the first request.
    """

    form: ClassVar[str] = "a model that replies, as a LLaVA: bridge=linear or mlp over image=transformers:…"
    library: ClassVar[str] = "transformers"
    keeps: ClassVar[tuple[str, ...]] = ("bridge_projections",)
    replies: ClassVar[bool] = True

    def refusal(self, model: TowerMethod) -> str:
        if not isinstance(model, SpeakingMethod):
            return f"it embeds {', '.join(model.embeds)} and writes no replies, as a model of sft does"
        bridge, language = model.speaker.bridge, model.language
        if type(bridge) not in (LinearBridge, MLPBridge):
            return f"a LLaVA has no place for a {type(bridge).__name__}: take bridge=linear or bridge=mlp"
        if not isinstance(model.image_tower, TransformersVision):
            return (
                f"its picture tower {model.image_tower.name!r} is none of transformers: take "
                "image=transformers:NAME@PATH with a CLIP or a SigLIP"
            )
        if language.recurrent or len(model.pictures) > 1:
            what = "several pictures" if len(model.pictures) > 1 else f"the language model {language.name!r}"
            return f"a LLaVA of one picture and a Transformer has no place for {what}"
        if language.head.bias is not None:
            return "its language model has a head with a bias, which a LLaVA has no place for"
        if any(getattr(type(model), name) is not getattr(SpeakingMethod, name) for name in _READING):
            return f"{type(model).__name__} reads pictures in a way of its own"
        return ""

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        return ("image",)

    @quiet()
    @torch.no_grad()
    def write(self, model: TowerMethod, folder: Path) -> None:
        import transformers

        assert isinstance(model, SpeakingMethod)
        image, language, bridge = model.image_tower, model.language, model.speaker.bridge
        assert isinstance(image, TransformersVision)
        tokenizer = _with_picture(language.chat.tokenizer)
        rows = max(int(language.head.weight.shape[0]), len(tokenizer))
        text = type(language.model.config).from_dict(language.model.config.to_dict() | {"vocab_size": rows})
        config = transformers.LlavaConfig(
            vision_config=image.model.config,
            text_config=text,
            image_token_id=_token_of_pictures(tokenizer),
            image_seq_length=bridge.tokens,
            vision_feature_layer=image.layer,
            vision_feature_select_strategy="default" if image.summary_tokens else "full",
            projector_hidden_act="linear" if isinstance(bridge, LinearBridge) else "gelu",
            tie_word_embeddings=bool(text.tie_word_embeddings),
        )
        whole = transformers.LlavaForConditionalGeneration(config).eval()
        parts: Mapping[Any, Mapping[str, Tensor]] = {
            whole.model.vision_tower: image.model.state_dict(),
            whole.model.language_model: language.model.base_model.state_dict(),
            whole.model.multi_modal_projector: _projector(bridge),
            whole.lm_head: language.head.state_dict(),
        }
        for part, weights in parts.items():
            of_part = part.state_dict()
            part.load_state_dict(solid({name: _grown(of_part[name], it) for name, it in weights.items()}))
        whole.generation_config.eos_token_id = language.chat.end
        whole.generation_config.pad_token_id = language.chat.padding
        whole.save_pretrained(folder)
        processor = transformers.LlavaProcessor(
            image.processor,
            tokenizer,
            patch_size=int(image.model.config.patch_size),
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            num_additional_image_tokens=image.summary_tokens,
            chat_template=_FLATTENED + str(tokenizer.chat_template),
            image_token=IMAGE,
        )
        processor.save_pretrained(folder)

    def embed(self, model: TowerMethod, column: str, raw: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n V"]:
        """Return the logits of the token behind a request about each picture."""
        assert isinstance(model, SpeakingMethod)
        talk = model.language.chat([(Exchange(REQUEST, ""),)])
        tokens = talk[:, 0, talk[0, 2] > 0].expand(len(raw), -1)
        speaker, tokenizer = model.speaker, _with_picture(model.language.chat.tokenizer)
        logits = speaker.next_logits(tokens, speaker.patches(model.inputs[column](raw)))
        return _without(logits, _token_of_pictures(tokenizer))

    @quiet()
    def read(self, folder: Path) -> Embed:
        import transformers

        model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()
        processor = transformers.AutoProcessor.from_pretrained(folder)
        content = [{"type": "image"}, {"type": "text", "text": REQUEST}]
        turns = [{"role": "user", "content": content}]
        prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
        special = _token_of_pictures(processor.tokenizer)

        @torch.no_grad()
        def embed(modality: str, raw: Any) -> Tensor:
            pictures = list(raw)
            inputs = processor(
                images=pictures, text=[prompt] * len(pictures), add_special_tokens=False, return_tensors="pt"
            )
            return _without(model(**inputs).logits[:, -1], special)

        return embed

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        return [
            "",
            "import transformers",
            "",
            "model = transformers.LlavaForConditionalGeneration.from_pretrained(folder).eval()",
            "processor = transformers.AutoProcessor.from_pretrained(folder)",
            f'content = [{{"type": "image"}}, {{"type": "text", "text": "{REQUEST}"}}]',
            'turns = [{"role": "user", "content": content}]',
            "prompt = processor.apply_chat_template(turns, add_generation_prompt=True)",
            'options = {"add_special_tokens": False, "return_tensors": "pt"}',
            f"inputs = processor(images=[{picture}], text=[prompt], **options)",
            "written = model.generate(**inputs, do_sample=False, max_new_tokens=32)",
            'print(processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
        ]


def _projector(bridge: nn.Module) -> dict[str, Tensor]:
    """Return the weights of LLaVA's two layers that do what a bridge does."""
    if isinstance(bridge, LinearBridge):
        out = bridge.linear.out_features
        first, second = bridge.linear, {"weight": torch.eye(out), "bias": torch.zeros(out)}
    else:
        assert isinstance(bridge, MLPBridge)
        first, second = bridge.up, bridge.down.state_dict()
    layers = {"linear_1": first.state_dict(), "linear_2": second}
    return {f"{name}.{key}": weight for name, layer in layers.items() for key, weight in layer.items()}


def _with_picture(tokenizer: Any) -> Any:
    """Return a tokenizer with a token for pictures, its own where it has one."""
    made = copy.deepcopy(tokenizer)
    made.add_tokens([IMAGE], special_tokens=True)
    made.padding_side = "left"
    return made


def _token_of_pictures(tokenizer: Any) -> int:
    return int(tokenizer.convert_tokens_to_ids(IMAGE))


def _without(logits: Float[Tensor, "n V"], token: int) -> Float[Tensor, "n W"]:
    """Return logits without that of a token, which a model may not have."""
    return torch.cat([logits[:, :token], logits[:, token + 1 :]], 1)


def _grown(like: Tensor, weight: Tensor) -> Tensor:
    """Return a table of tokens with rows of zeros for those that were added; other weights as they are."""
    missing = like.shape[0] - weight.shape[0] if weight.ndim == 2 else 0
    return F.pad(weight, (0, 0, 0, missing)) if missing > 0 else weight
