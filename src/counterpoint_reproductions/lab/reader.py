"""A small language model that has learned in text to use a name that it was told a few turns before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from counterpoint.evaluation.tasks.binding import REQUEST, WORDS
from counterpoint.interop.transformers import language_tower
from counterpoint.networks.init import seeded
from counterpoint.networks.tiny_vlm import ASSISTANT, END, START, USER
from counterpoint.networks.towers.chat import Chat
from counterpoint.networks.towers.language import LanguageTower
from counterpoint.networks.weights import TowerSource
from counterpoint.raw import Exchange

from .descent import minimise

WIDTH, LAYERS, HEADS, CONTEXT, BATCH, LR = 64, 2, 2, 160, 48, 3e-3
TOKENS = 2
"""Tokens in the place of a picture: the name of its thing, as often."""
_LENGTH, _LONGEST, _ALPHABET = 48, 8, 66
"""Of sequences of strings: their length, the longest string and noise, and how many tokens occur."""
_READ_STRINGS = 0.6
"""The share of the steps that strings are read for."""


class Reader:
    """The texts that a language model reads: strings that come again, and episodes in which things get names.

    An episode is a conversation. Where a picture would stand in a request stands the name of a thing, `TOKENS` times.
    The reply is the name itself, or, in an episode of invented names, that of the thing.

    Args:
        chat: writes the conversations.
        names: of things, each of one token.
    """

    def __init__(self, chat: Chat, names: Sequence[str]) -> None:
        def ids(text: str) -> list[int]:
            return list(chat.tokenizer(text, add_special_tokens=False)["input_ids"])

        self.first, self.later = ids(START + USER), ids(USER)
        self.asked, self.end = ids(REQUEST + ASSISTANT), ids(END)
        self.names, self.words = ([one for word in of for one in ids(word)] for of in (names, WORDS))
        self.alphabet = range(chat.vocabulary - _ALPHABET, chat.vocabulary)
        if len(self.names) > len(names) or len(self.words) > len(WORDS):
            raise ValueError("a name has several tokens: give a larger vocabulary")

    def strings(self, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """Return a string that comes again at any distance among noise, and its tokens that can be known."""
        string = rng.choice(self.alphabet, int(rng.integers(2, _LONGEST + 1))).tolist()
        tokens: list[int] = []
        known: list[bool] = []
        while len(tokens) < _LENGTH:
            gap = int(rng.integers(_LONGEST))
            known += [False, *[bool(tokens)] * (len(string) - 1), *[False] * gap]
            tokens += [*string, *rng.choice(self.alphabet, gap).tolist()]
        return tokens[:_LENGTH], known[:_LENGTH]

    def episode(
        self, rng: np.random.Generator, ways: int, shots: int, *, invented: bool = True
    ) -> tuple[list[int], list[bool]]:
        """Return the tokens of a conversation, and which of them are replies that can be known."""
        things = rng.choice(self.names, ways, replace=False).tolist()
        told = rng.choice(self.words, ways, replace=False).tolist() if invented else things
        order = [*rng.permutation(np.repeat(np.arange(ways), shots)).tolist(), int(rng.integers(ways))]
        tokens: list[int] = []
        known: list[bool] = []
        for number, n in enumerate(order):
            turn = [*(self.later if tokens else self.first), *[things[n]] * TOKENS, *self.asked]
            can = not invented or n in order[:number]
            tokens += [*turn, told[n], *self.end]
            known += [False] * len(turn) + [can] * (1 + len(self.end))
        return tokens, known


def train_reader(folder: Path, names: Sequence[str], steps: int, seed: int) -> None:
    """Train a language model on strings, then on episodes, and save it with its tokenizer."""
    texts = {(Exchange(REQUEST, text),) for text in (*names, *WORDS)}
    chat = Chat.fit([sorted(texts)], 420, CONTEXT)
    reader, taken = Reader(chat, names), iter(range(steps))
    config = transformers.LlamaConfig(
        vocab_size=chat.vocabulary,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        initializer_range=0.08,
        tie_word_embeddings=False,
        attention_bias=True,  # so that a head can attend to the token before, whatever it is
        pad_token_id=chat.padding,
        bos_token_id=chat.tokenizer.bos_token_id,
        eos_token_id=chat.end,
    )
    with seeded(seed, "reader"):
        llama = LanguageTower(transformers.LlamaForCausalLM(config), chat)

    def step(rng: np.random.Generator) -> Tensor:
        if next(taken) < _READ_STRINGS * steps:
            return _loss(llama, [reader.strings(rng) for _ in range(BATCH)])
        ways, shots = int(rng.integers(2, 4)), int(rng.integers(1, 4))
        drawn = [
            reader.episode(rng, ways, shots, invented=n % 4 > 0)
            if n % 8
            else reader.episode(rng, 1, 0, invented=False)
            for n in range(BATCH)
        ]
        return _loss(llama, drawn)

    minimise(step, llama.train().parameters(), steps=steps, lr=LR, seed=seed)
    llama.eval().model.save_pretrained(folder)
    chat.tokenizer.save_pretrained(folder)


@torch.no_grad()
def text_accuracy(folder: Path, names: Sequence[str], *, ways: int, shots: int, episodes: int = 500) -> float:
    """Return the share of episodes in text whose last reply a saved model finds."""
    source = TowerSource.parse(f"transformers:reader@{folder}")
    llama = language_tower(source, CONTEXT, 0).eval()
    reader, rng = Reader(llama.chat, names), np.random.default_rng(0)
    right = 0
    for drawn in _parts([reader.episode(rng, ways, shots)[0] for _ in range(episodes)]):
        states = llama.token_states(llama.embed(drawn))[:, -2 - len(reader.end)]
        right += int((llama.head(states).argmax(1) == drawn[:, -1 - len(reader.end)]).sum())
    return right / episodes


def _parts(rows: Sequence[list[int]]) -> Iterator[Tensor]:
    yield from torch.split(torch.tensor(rows), 100)


def _loss(llama: LanguageTower, drawn: Sequence[tuple[list[int], list[bool]]]) -> Tensor:
    """Return the cross-entropy of the tokens that can be known."""
    longest = max(len(tokens) for tokens, _ in drawn)
    tokens = torch.tensor([row + [llama.chat.padding] * (longest - len(row)) for row, _ in drawn])
    known = torch.tensor([row + [False] * (longest - len(row)) for _, row in drawn])[:, 1:]
    states = llama.token_states(llama.embed(tokens[:, :-1]))[known]
    return F.cross_entropy(llama.head(states), tokens[:, 1:][known])
