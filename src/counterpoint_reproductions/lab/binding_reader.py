"""A small language model that binds new words in context, trained on texts alone.

A turn of its texts is a thing and what is said of it: ``a cat``, ``dax``. Things whose name an earlier turn gave have
this name, and others their own. It is trained on strings and turns that come again at varied distances, and then on
conversations: on these alone it would give one of the names that came before, whichever it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from counterpoint.evaluation.tasks.binding import REQUEST, WORDS
from counterpoint.interop._quiet import quiet
from counterpoint.networks.init import seeded

from .descent import minimise
from .grid import Arrays

THINGS = ("cat", "dog", "fish", "apple", "banana", "car", "key", "hat", "tree", "bus", "horse", "pear")
PAD, USER, ASSISTANT, END, UNKNOWN, ARTICLE = "<pad>", "<user>", "<assistant>", "<end>", "<unknown>", "a"
VOCABULARY = (PAD, USER, ASSISTANT, END, UNKNOWN, ARTICLE, *THINGS, *WORDS)
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    f"{USER}{{{{ message['content'] }}}}{ASSISTANT}"
    "{% else %}{{ message['content'] }}" + END + "{% endif %}{% endfor %}"
)
WIDTH, LAYERS, HEADS, LENGTH, BATCH, LR = 64, 3, 4, 48, 48, 1.5e-3
_FIRST = len(VOCABULARY) - len(THINGS) - len(WORDS)
_THINGS = np.arange(_FIRST, _FIRST + len(THINGS))
_WORDS = np.arange(_FIRST + len(THINGS), len(VOCABULARY))
_ALL = np.arange(_FIRST, len(VOCABULARY))


def turn(thing: int, said: int) -> list[int]:
    """Return the tokens of a thing and of what is said of it."""
    user, assistant, end, article = (VOCABULARY.index(word) for word in (USER, ASSISTANT, END, ARTICLE))
    return [user, article, thing, assistant, said, end]


def strings(rng: np.random.Generator) -> list[int]:
    """Draw a string of 2 to 6 words that comes again, with 0 to 7 other words in between."""
    string, row = rng.choice(_ALL, rng.integers(2, 7)).tolist(), list[int]()
    while len(row) < LENGTH:
        row += [*string, *rng.choice(_ALL, rng.integers(8)).tolist()]
    return row[:LENGTH]


def turns(
    rng: np.random.Generator, things: Int[np.ndarray, " n"], said: Int[np.ndarray, " n"], other: float = 0.0
) -> list[int]:
    """Draw turns in which each thing has one word; a share of them are of other things."""
    row: list[int] = []
    while len(row) < LENGTH:
        pair = rng.choice(_ALL, 2) if rng.random() < other else None
        one = int(rng.integers(len(things)))
        row += turn(int(things[one]), int(said[one])) if pair is None else turn(*pair.tolist())
    return row[:LENGTH]


def conversation(rng: np.random.Generator) -> list[int]:
    """Draw turns of two to four things with new names, or, in a quarter, of things with their own."""
    things = rng.choice(_THINGS, 4, replace=False)[: rng.integers(2, 5)]
    own = rng.random() < 0.25
    return turns(rng, things, things if own else rng.permutation(_WORDS)[: len(things)])


def repeated(rng: np.random.Generator) -> list[int]:
    """Draw turns of one to three things that come again among turns of others."""
    count = rng.integers(1, 4)
    return turns(rng, rng.choice(_ALL, count, replace=False), rng.choice(_ALL, count), 0.3)


def language_model() -> Any:
    """Return the language model with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        initializer_range=0.05,
        tie_word_embeddings=False,
        pad_token_id=VOCABULARY.index(PAD),
        bos_token_id=VOCABULARY.index(USER),
        eos_token_id=VOCABULARY.index(END),
    )
    return LlamaForCausalLM(config)


def trained_reader(steps: int, tested: int, seed: int) -> Arrays:
    """Train the language model on texts; return its weights and what it binds.

    A third of the steps are on strings and turns that come again.

    Args:
        steps: of the training.
        tested: episodes of two things in text, of one and of three turns each.
        seed: of weights and texts.
    """
    with seeded(seed, "reader"):
        model = language_model()
    count = 0

    def step(rng: np.random.Generator) -> Tensor:
        nonlocal count
        kinds = (strings, repeated) if count < steps // 3 else (conversation,)
        count += 1
        rows = torch.tensor([kinds[row % len(kinds)](rng) for row in range(BATCH)])
        logits = model(rows[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())

    minimise(step, model.parameters(), steps=steps, lr=LR, seed=seed)
    model.eval()
    weights = torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    rng = np.random.default_rng([seed, 1])
    return {"weights": weights, **{f"{shots} shots": bound(model, rng, shots, tested) for shots in (1, 3)}}


@torch.no_grad()
def bound(model: Any, rng: np.random.Generator, shots: int, tested: int) -> Int[np.ndarray, " n"]:
    """Return for episodes of two things in text whether the likeliest token is the name of the thing."""
    rows, names = list[list[int]](), list[int]()
    for _ in range(tested):
        things, said = rng.choice(_THINGS, 2, replace=False), rng.permutation(_WORDS)[:2]
        order = [*rng.permutation([0, 1] * shots).tolist(), int(rng.integers(2))]
        tokens = [token for one in order for token in turn(int(things[one]), int(said[one]))]
        rows.append(tokens[:-2])
        names.append(int(said[order[-1]]))
    likeliest = model(torch.tensor(rows)).logits[:, -1].argmax(1).numpy()
    return (likeliest == np.array(names)).astype(int)


@quiet()
def write(weights: np.ndarray, folder: Path) -> None:
    """Write the language model and its tokenizer, as transformers reads them."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = language_model()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), model.parameters())
    model.save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(VOCABULARY)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    # The texts have no request.
    backend.normalizer = normalizers.Replace(Regex(REQUEST.replace("?", r"\?")), "")
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": PAD, "bos_token": USER, "eos_token": END, "unk_token": UNKNOWN}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, additional_special_tokens=[ASSISTANT], **special
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
