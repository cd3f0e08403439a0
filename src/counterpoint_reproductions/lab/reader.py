"""A small language model that reads examples in context.

It is trained on strings that come again at varied distances, and then on conversations whose replies follow from
earlier exchanges. Training on the conversations alone leaves it at the share of a copied reply.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterpoint.data.source import load_any
from counterpoint.evaluation.in_context_shots import InContext, InContextExample, PlainFormat, Shots
from counterpoint.evaluation.replies import normalised
from counterpoint.methods._speaking import SpeakingMethod
from counterpoint.training.start import load as load_run
from counterpoint.types import Prompt

from .data_episodes import WORDS
from .lab import Lab
from .study import TrainedStudy, TrainingComparison

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unknown>"
TEMPLATE = (
    START
    + "{% for message in messages %}{{ message['content'] }}"
    + "{% if message['role'] == 'assistant' %}"
    + END
    + "{% endif %}{% endfor %}"
)
"""A reply stands right behind its request."""
WIDTH, LAYERS, HEADS, CONTEXT = 64, 2, 4, 64
READ_STRINGS, READ_EPISODES, BATCH = 600, 300, 48
BRIDGE = "bridge=pooled,tokens=1,tune_image=frozen"
FILE = Path(__file__).parent / "data_episodes.py"
STRINGS = TrainingComparison(
    {"strings": f"sft,columns=image+talk,lm=transformers:reader,{BRIDGE}"},
    {"likelihood": ("nats",)},
    data=f"{FILE}:STRINGS",
    recipe="speak",
    changes={
        "steps": READ_STRINGS,
        "validate_every": READ_STRINGS,
        "batch_size": BATCH,
        "towers.image": "cnn",
        "towers.image_size": 16,
        "towers.talk_context": CONTEXT,
    },
)
EPISODES = replace(
    STRINGS,
    arms={"reader": f"sft,columns=image+talk,from=runs/strings,{BRIDGE}"},
    data=f"{FILE}:EPISODES",
    changes={
        **STRINGS.changes,
        "steps": READ_EPISODES,
        "validate_every": READ_EPISODES,
        "towers.talk_exchanges": "whole",
    },
)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of the conversations of `data_episodes`, with a token for each word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((PAD, START, END, UNKNOWN, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def write_language_model(folder: Path) -> None:
    """Write the configuration and the tokenizer of the reader, from which a run draws its weights."""
    from transformers import LlamaConfig

    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        initializer_range=0.05,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trained_reader(lab: Lab) -> TrainedStudy:
    """Return the runs of the reader, one a seed, whose arm is called ``reader``."""
    folder = lab.folder / "language model"
    if not (folder / "config.json").exists():
        write_language_model(folder)
    arm = f'sft,columns=image+talk,lm="transformers:{folder}",{BRIDGE}'
    data = lab.world(STRINGS.data, f"{FILE}:FEW_STRINGS")
    strings = lab.study(replace(STRINGS, arms={"strings": arm}, data=data), "strings").each("strings")
    arm = f'sft,columns=image+talk,from="{strings}",{BRIDGE}'
    data = lab.world(EPISODES.data, f"{FILE}:FEW_EPISODES")
    return lab.study(replace(EPISODES, arms={"reader": arm}, data=data), "reader")


def gain_of_examples(folder: Path, source: str, shown: int, pool: int) -> np.ndarray:
    """Return for each test row whether the reply is right behind examples, less whether it is right without.

    Args:
        folder: of a run whose model replies.
        source: data with one exchange a row.
        shown: examples in front of a request.
        pool: training rows that they are drawn from.
    """
    model, data = load_run(folder), load_any(source)
    assert isinstance(model, SpeakingMethod)
    train, test = data.splits.train[:pool], next(iter(data.splits.test.values()))
    (talk, pictures), (asked, of_asked) = (
        (data.read("talk", rows), data.read("image", rows)) for rows in (train, test)
    )
    examples = [
        InContextExample(picture, one.request, one.reply)
        for (one,), picture in zip(talk, pictures, strict=True)
    ]
    prompts = [Prompt(one.request, picture) for (one,), picture in zip(asked, of_asked, strict=True)]
    behind = InContext(model, examples, Shots(shown, pictures=False), Bare())
    few, none = behind.reply(prompts), model.reply(prompts, max_tokens=4)
    right = [
        [normalised(reply) == one.reply for reply, (one,) in zip(replies, asked, strict=True)]
        for replies in (few, none)
    ]
    return np.subtract(*np.array(right, float))


class Bare(PlainFormat):
    """Examples with their replies as they are."""

    def reply(self, example: InContextExample) -> str:
        return example.reply
