"""Text views: which caption of an example is used, and what is done to it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from torch import Tensor

from ...networks.base import Input, Tokenizer
from ...networks.towers.parts.pooling import inside
from ...registry import unknown
from . import false_captions, wordnet
from .keys import uniform
from .stopwords import STOP_WORDS

Synonyms = Callable[[str], Sequence[str]]

TEXT_VIEWS = ("plain", "simclr", "strong", "weak")
NOT_ASKED = -100
"""In place of the tokens that a masked text does not ask for: what torch's cross-entropy leaves out."""
SLOTS = ("caption", "sentence", "piece")
"""Text views with a number from 0 after a colon: one of an example's captions, the first sentence of it, and one of
some sentences that are drawn from the captions behind the first."""

_SYNONYM, _SWAP, _DELETE = 0.4, 0.4, 0.2  # how often each edit is drawn
_DELETE_WORD = 0.1  # each word's chance to go
_SENTENCE = re.compile(r".*?(?:[.!?](?=\s|$)|[。！？])", re.DOTALL)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:['’-]\w+)*|[^\w\s]+")


@runtime_checkable
class CaptionOptions(Protocol):
    """The keys of a recipe's ``augmentation`` section that the text views read."""

    @property
    def stop_words(self) -> float: ...
    @property
    def clean_text(self) -> bool: ...
    @property
    def synonyms(self) -> bool: ...
    @property
    def captions(self) -> str: ...


@final
@dataclass(frozen=True)
class TextView:
    """One caption of each example, drawn at random; perhaps without its stop words; perhaps with one edit.

    The edit is one of: a word replaced by a synonym (0.4), two words swapped (0.4), each word deleted with
    probability 0.1 (0.2). Without a dictionary only the last two are drawn, in their proportion. A caption
    of one word is neither swapped nor cut, and no caption becomes empty.

    Attributes:
        stop_words: probability that every English stop word is dropped (kept if nothing else is there).
        edit: whether one edit is made.
        clean: whether captions are cleaned first.
        synonyms: a word's synonyms; ``None`` to do without replacement.
        slot: the number of the caption that is taken in place of one at random; an example without it has the empty
            caption.
        sentence: only the first sentence is taken.
        piece: the number of a sentence among those that are drawn, in place of a caption; see `drawn_sentence`.
        false: the way in which the caption is made false, of `false_captions.FALSE`; one that cannot be is empty.
        masked: the share of tokens that are asked for; see `masked_words`.
    """

    stop_words: float = 0.0
    edit: bool = False
    clean: bool = False
    synonyms: Synonyms | None = None
    slot: int | None = None
    sentence: bool = False
    piece: int | None = None
    false: str = ""
    masked: float = 0.0

    def within(self, other: TextView) -> TextView:
        """Return the view of the caption that another view draws."""
        return self

    def __call__(
        self,
        raw: Sequence[str | Sequence[str]],
        keys: UInt64[np.ndarray, " n"],
        input: Input,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Tensor:
        """Return a tower's input of one text per example; an example is one text or several.

        Of masked texts it is ``(n, 2, L)``, what is shown and what is asked.
        """
        captions = [[of_row] if isinstance(of_row, str) else of_row for of_row in raw]
        tokens = input(self.apply(captions, keys, part))
        if not self.masked:
            return tokens
        assert isinstance(input, Tokenizer)
        return masked_words(tokens, input, keys, self.masked)

    def apply(
        self,
        captions: Sequence[Sequence[str]],
        keys: UInt64[np.ndarray, " n"],
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> list[str]:
        """Return one text per example.

        Args:
            captions: the captions of each example.
            keys: one per example, from ``views.key``; views with other keys draw another caption.
            part: keys that the caption is drawn from, where another view says which.

        >>> from counterpoint.data import views
        >>> view = TextView(stop_words=1.0)
        >>> view.apply([["a dog on the beach"]], views.key(0, 0, np.array([7]), "text"))
        ['dog beach']

        Raises:
            ValueError: if an example has no caption, or the keys are not one per example.
        """
        if len(keys) != len(captions):
            raise ValueError(f"keys must be one per example: got {len(keys)} for {len(captions)} examples")
        for number, choice in enumerate(captions):
            if not choice:
                raise ValueError(f"captions[{number}] is empty: every example needs at least one caption")
        if self.piece is not None:
            choices = [sentences_behind_the_first(choice) for choice in captions]
            longest = max([self.piece + 1, *map(len, choices)])
            draws = uniform(keys if part is None else part, "sentences", longest)
            texts = [drawn_sentence(s, self.piece, of_row) for s, of_row in zip(choices, draws, strict=True)]
        elif self.slot is not None:
            texts = ["".join(choice[self.slot : self.slot + 1]) for choice in captions]
        else:
            which = uniform(keys if part is None else part, "caption")[:, 0]
            texts = [choice[int(u * len(choice))] for choice, u in zip(captions, which, strict=True)]
        if self.sentence:
            texts = [first_sentence(text) for text in texts]
        if self.clean:
            texts = [clean(text) for text in texts]
        if self.stop_words:
            drop = uniform(keys, "stop words")[:, 0] < self.stop_words
            texts = [without_stop_words(t) if d else t for t, d in zip(texts, drop, strict=True)]
        if self.edit:
            texts = self._edit(texts, keys)
        if self.false:
            texts = self._falsify(texts, keys)
        return texts

    def _falsify(self, texts: list[str], keys: UInt64[np.ndarray, " n"]) -> list[str]:
        falsify = false_captions.FALSE[self.false]
        related = {} if self.false == "shuffle" else false_captions.load()
        sentences = [text.split() for text in texts]
        draws = uniform(keys, f"false {self.false}", max(map(len, sentences), default=0) + 2).tolist()
        return [" ".join(falsify(words, related, d)) for words, d in zip(sentences, draws, strict=True)]

    def _edit(self, texts: list[str], keys: UInt64[np.ndarray, " n"]) -> list[str]:
        sentences = [text.split() for text in texts]
        longest = max(map(len, sentences), default=0)
        kinds = uniform(keys, "edit")[:, 0].tolist()
        per_word = uniform(keys, "words", longest).tolist()
        extra = uniform(keys, "choice").tolist()
        replace = 0.0 if self.synonyms is None else _SYNONYM
        result = []
        for text, words, kind, draws, (choice,) in zip(texts, sentences, kinds, per_word, extra, strict=True):
            kind *= replace + _SWAP + _DELETE
            if self.synonyms is not None and kind < replace:
                edited = replace_word(words, self.synonyms, draws, choice)
            elif kind < replace + _SWAP:
                edited = swap_words(words, choice)
            else:
                edited = delete_words(words, draws, choice)
            result.append(" ".join(edited) or text)
        return result


def share(
    captions: Sequence[Sequence[str]], augmentation: CaptionOptions, keys: UInt64[np.ndarray, " n"]
) -> Sequence[Sequence[str]]:
    """Leave each example one caption for all its views, if ``augmentation.captions`` is ``"shared"``."""
    if augmentation.captions != "shared":
        return captions
    draws = uniform(keys, "caption")[:, 0].tolist()
    return [[of_row[int(u * len(of_row))]] for of_row, u in zip(captions, draws, strict=True)]


def masked_words(
    tokens: Int[Tensor, "n L"], tokenizer: Tokenizer, keys: UInt64[np.ndarray, " n"], share: float
) -> Int[Tensor, "n 2 L"]:
    """Return tokens of which some are hidden, and those that are asked for, `NOT_ASKED` elsewhere.

    Each token is asked for with the probability ``share``, but no padding and no token that begins or ends every text.
    Of those that are asked for, 80 % are shown as the mask token, 10 % as a random token, and 10 % as they are.

    Args:
        tokens: of texts, padded on the right.
        tokenizer: of the tokens; the id of the mask token is its ``vocabulary``.
        keys: one for each text.
        share: of the tokens.

    Source: BERT (arXiv 1810.04805).
    """
    length = tokens.shape[1]
    first = tokenizer(["a", "b"])[:, 0]
    words = inside(tokens, tokenizer.end) & (tokens != tokenizer.end)
    words[:, : int(first[0] == first[1])] = False
    drawn, way, other = (
        torch.from_numpy(uniform(keys, purpose, length)) for purpose in ("masked", "shown as", "random token")
    )
    asked = words & (drawn < share)
    # Any token but the end token, which would end the text.
    random = (other * (tokenizer.vocabulary - 1)).long()
    random += random >= tokenizer.end
    shown = torch.where(asked & (way < 0.9), random, tokens)
    shown = torch.where(asked & (way < 0.8), tokenizer.vocabulary, shown)
    return torch.stack([shown, torch.where(asked, tokens, NOT_ASKED)], 1)


@lru_cache(maxsize=2**16)
def clean(text: str) -> str:
    """Mend wrong encodings, resolve HTML entities, make every run of white space one space, lower the case.

    >>> clean("  Caf\\u00c3\\u00a9 &amp;amp; Bar\\n")
    'café & bar'
    """
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence; all of it where no sentence ends.

    >>> first_sentence("A dog, 2.5 feet high. It has a hat.")
    'A dog, 2.5 feet high.'
    """
    match = _SENTENCE.match(text)
    return match[0] if match else text


def sentences_behind_the_first(captions: Sequence[str]) -> list[str]:
    """Return all sentences of all captions but the first; those of the first one where there is no other.

    >>> sentences_behind_the_first(["a dog", "A dog. It has a hat.", "a black dog"])
    ['A dog.', 'It has a hat.', 'a black dog']
    """
    pieces = [piece for caption in captions[1:] or captions for piece in split_sentences(caption)]
    return pieces or [captions[0]]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; what follows the last end of one, and each line, is one too.

    >>> split_sentences("A dog, 2.5 feet high. It has a hat! Red")
    ['A dog, 2.5 feet high.', 'It has a hat!', 'Red']
    """
    pieces = []
    for line in text.splitlines():
        ends = [0, *(match.end() for match in _SENTENCE.finditer(line)), len(line)]
        pieces += [line[start:end].strip() for start, end in pairwise(ends)]
    return [piece for piece in pieces if piece]


def drawn_sentence(sentences: Sequence[str], number: int, draws: Float[np.ndarray, " n"]) -> str:
    """Return one of the sentences in the order of some draws; one with replacement behind the last.

    >>> drawn_sentence(["a", "b"], 0, np.array([0.9, 0.1, 0.6]))
    'b'
    >>> drawn_sentence(["a", "b"], 2, np.array([0.9, 0.1, 0.6]))
    'b'
    """
    if number < len(sentences):
        return sentences[int(np.argsort(draws[: len(sentences)])[number])]
    return sentences[int(draws[number] * len(sentences))]


def without_stop_words(text: str) -> str:
    """Return the caption without its stop words, punctuation set apart; the caption itself if nothing is left.

    >>> without_stop_words("A man, and his dog")
    'man , dog'
    >>> without_stop_words("all of them")
    'all of them'
    """
    words = [w for w in _TOKEN.findall(text) if w.lower().replace("’", "'") not in STOP_WORDS]
    return " ".join(words) or text


def replace_word(
    words: Sequence[str], synonyms: Synonyms, draws: Sequence[float], choice: float
) -> list[str]:
    """Put a synonym in place of one word, everywhere it stands; stop words, and words without synonyms, stay.

    Args:
        draws: the candidates (different words, in alphabetical order) are tried by increasing draw.
        choice: picks among the synonyms.
    """
    candidates = sorted({word for word in words if word not in STOP_WORDS})
    for _, word in sorted(zip(draws, candidates, strict=False)):
        names = synonyms(word)
        if names:
            new = names[int(choice * len(names))]
            return [new if w == word else w for w in words]
    return list(words)


def swap_words(words: Sequence[str], choice: float) -> list[str]:
    """Exchange one of the ordered pairs of places, all equally likely.

    >>> swap_words(["red", "car"], 0.3)
    ['car', 'red']
    """
    n, result = len(words), list(words)
    if n > 1:
        first, step = divmod(int(choice * n * (n - 1)), n - 1)
        second = (first + 1 + step) % n
        result[first], result[second] = result[second], result[first]
    return result


def delete_words(words: Sequence[str], draws: Sequence[float], choice: float) -> list[str]:
    """Drop each word whose draw is below 0.1; if none would be left, keep one, picked by ``choice``.

    >>> delete_words(["a", "red", "car"], [0.5, 0.05, 0.9], 0.0)
    ['a', 'car']
    """
    if len(words) < 2:
        return list(words)
    kept = [word for word, draw in zip(words, draws, strict=False) if draw >= _DELETE_WORD]
    return kept or [words[int(choice * len(words))]]


def text(name: str, augmentation: CaptionOptions) -> TextView:
    """Return a text view by its name.

    - ``plain``: one of the example's captions.
    - ``weak``: and its stop words dropped with probability ``augmentation.stop_words``.
    - ``caption:2``: the third of the example's captions, ``sentence:2``: the first sentence of it; the empty caption
      where the example has fewer.
    - ``piece:2``: the third of some sentences that are drawn from all captions behind the first. Views that are
      ``like`` one view draw them together, without replacement as far as there are enough.
    - ``false:swap``, ``false:replace``, ``false:shuffle``: the caption of the view that it is ``like``, made false; the
      empty caption where that cannot be. The first two need WordNet.
    - ``masked``, ``masked:25``: as ``plain``, with 15 or another number of hundredths of its tokens masked.
    - ``strong``, ``simclr``: and one edit of Easy Data Augmentation: synonym, swap or deletion.
      ``augmentation.synonyms=False`` leaves the synonyms out; they need WordNet.

    ``augmentation.clean_text`` cleans every caption first. Source: Fini et al., 2023 (CLIP-rocket), with its
    reference code's settings of Wei and Zou, 2019 (EDA): one word or pair per caption.

    Raises:
        UnknownNameError: for any other name.
        MissingPackageError: for an edit with synonyms where WordNet is not installed.
    """
    kind, _, number = name.partition(":")
    if kind in SLOTS and number.isdecimal():
        if kind == "piece":
            return TextView(clean=augmentation.clean_text, piece=int(number))
        return TextView(clean=augmentation.clean_text, slot=int(number), sentence=kind == "sentence")
    if kind == "false" and number in false_captions.FALSE:
        return TextView(clean=augmentation.clean_text, false=number)
    if kind == "masked" and (not number or (number.isdecimal() and 0 < int(number) <= 100)):
        return TextView(clean=augmentation.clean_text, masked=int(number or 15) / 100)
    if name not in TEXT_VIEWS:
        raise unknown("text view", name, (*TEXT_VIEWS, "masked", *(f"{slot}:NUMBER" for slot in SLOTS)))
    strong = name in ("strong", "simclr")
    return TextView(
        stop_words=0.0 if name == "plain" else augmentation.stop_words,
        edit=strong,
        clean=augmentation.clean_text,
        synonyms=wordnet.load() if strong and augmentation.synonyms else None,
    )
