"""The tiny vision-language model: a LLaVA of transformers with towers of a few million parameters.

A SigLIP tower sees, a Llama reads and writes, two linear layers join them. Model, tokenizer and processor are
ordinary ones of transformers: what works with this model works with its big relatives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipes.tiny_vlm import TinyVLM

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

PAD, START, END, USER, ASSISTANT, IMAGE = "<pad>", "<start>", "<end>", "<user>", "<assistant>", "<image>"
SPECIAL = (PAD, START, END, USER, ASSISTANT, IMAGE)
CHAT_TEMPLATE = (
    START
    + "{% for message in messages %}"
    + "{% if message['role'] == 'user' %}"
    + USER
    + "{% else %}"
    + ASSISTANT
    + "{% endif %}"
    + "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    + "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    + IMAGE
    + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    + "{% if message['role'] == 'assistant' %}"
    + END
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}"
    + ASSISTANT
    + "{% endif %}"
)
"""``<start><user><image>Is the cat red?<assistant>Yes.<end>``: special tokens stand between all pieces of text, so
that a piece has the same tokens alone and in a conversation."""
NAME = "tiny-vlm"
"""The name that a command takes in place of the path of the model that comes with the package."""
MODEL = "model"
"""The folder with the finished checkpoint, in a run's."""
_SHIPPED = Path(__file__).parent / "files" / NAME
POSITIONS = 1024
"""The longest conversation, in tokens."""


def default_model_path() -> Path:
    """Return the folder of the trained model that comes with the package, whose ``made.json`` says how it was made.

    >>> (default_model_path() / "config.json").is_file()
    True
    """
    return _SHIPPED


def world() -> str:
    """Return the data that the shipped model was trained on, as after ``--data``.

    >>> world()
    'scenes:companions'
    """
    made: dict[str, Any] = json.loads((_SHIPPED / "made.json").read_text(encoding="utf-8"))
    return str(made["data"])


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level byte-pair tokenizer of at most ``vocabulary`` tokens, whatever the order of the texts.

    Raises:
        ValueError: for a vocabulary that has no room for the bytes and the special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    _check_vocabulary(vocabulary)
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(sorted(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        extra_special_tokens=[USER, ASSISTANT, IMAGE],
        padding_side="left",
        model_max_length=POSITIONS,
    )


def _check_vocabulary(vocabulary: int) -> None:
    least = 256 + len(SPECIAL)
    if vocabulary < least:
        raise ValueError(
            f"vocabulary={vocabulary} is too small: 256 bytes and {len(SPECIAL)} special tokens need {least}"
        )


def check(recipe: TinyVLM) -> None:
    """Refuse a recipe that no model can be built by.

    Raises:
        ValueError: for a picture that patches do not fill, a vocabulary that is too small, and a width that heads do
            not divide.
    """
    if recipe.image_size % recipe.patch:
        raise ValueError(
            f"patches of {recipe.patch} pixels do not fill a picture of {recipe.image_size}: "
            "image_size must be a multiple of patch"
        )
    _check_vocabulary(recipe.vocabulary)
    # A head of the language model turns its numbers two by two, by the place of the token.
    for name, size, least in (("vision", recipe.vision, 1), ("language", recipe.language, 2)):
        if size.width % (least * size.heads):
            raise ValueError(
                f"{name}.width={size.width} must be a multiple of {least * size.heads} for {name}.heads={size.heads}"
            )


def build(recipe: TinyVLM, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Build the model with random weights, drawn from torch's generator.

    Raises:
        ValueError: as `check`.
    """
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    check(recipe)
    vision, language = recipe.vision, recipe.language
    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=vision.width,
            intermediate_size=3 * vision.width,
            num_hidden_layers=vision.layers,
            num_attention_heads=vision.heads,
            image_size=recipe.image_size,
            patch_size=recipe.patch,
            vision_use_head=False,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=language.width,
            intermediate_size=(8 * language.width // 3 + 15) // 16 * 16,
            num_hidden_layers=language.layers,
            num_attention_heads=language.heads,
            num_key_value_heads=language.heads,
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            **ids,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(recipe.image_size // recipe.patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        **ids,
    )
    model = LlavaForConditionalGeneration(config)
    for name, value in ids.items():
        setattr(model.generation_config, name, value)
    return model


def processor(recipe: TinyVLM, tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Make the processor that turns pictures and conversations into the model's inputs."""
    from transformers import LlavaProcessor, SiglipImageProcessor

    side = {"height": recipe.image_size, "width": recipe.image_size}
    pictures = SiglipImageProcessor(size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=recipe.patch,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=0,
    )
