"""Tokenizers of ``transformers``, which cut, end and pad texts in one way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend


class TransformersTokenizer:
    """A ``transformers`` tokenizer whose captions all end in one end token and are padded on the right.

    A caption that holds the name of a special token is text like any other.

    Args:
        tokenizer: of ``transformers``.
        context: the most tokens a caption may have.
        full: pad all captions to the context, for a model that was trained so.

    Attributes:
        begins_with_end: whether captions begin with the end token too.

    Raises:
        ValueError: for a tokenizer without an end, or a context without room for any text.
    """

    def __init__(self, tokenizer: Any, context: int, *, full: bool = False) -> None:
        ends = (tokenizer.sep_token_id, tokenizer.eos_token_id)
        end = next((i for i in ends if i is not None), None)
        if end is None:
            raise ValueError("its tokenizer has neither a separator nor an end token to end captions with")
        self._tokenizer, self._full = tokenizer, full
        self.context, self.vocabulary, self.end = context, len(tokenizer), int(end)
        self._pad = int(self.end if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        self.begins_with_end: bool = tokenizer("a")["input_ids"][0] == self.end
        around = tokenizer("")["input_ids"]
        if context < (needed := len(around) + (not self._ended(around)) + 1):
            raise ValueError(
                f"context={context} is too small: what its tokenizer puts around a text, and at least one token of "
                f"the text, need {needed}"
            )

    def _ended(self, row: Sequence[int]) -> bool:
        return len(row) >= (2 if self.begins_with_end else 1) and row[-1] == self.end

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        if not captions:
            return torch.zeros(0, self.context, dtype=torch.long)
        rows = self._tokenizer(
            list(captions), truncation=True, max_length=self.context, split_special_tokens=True
        )["input_ids"]
        rows = [r if self._ended(r) else [*r[: self.context - 1], self.end] for r in rows]
        longest = self.context if self._full else max(map(len, rows))
        return torch.tensor([r + [self._pad] * (longest - len(r)) for r in rows])

    def check(self) -> None:
        """Check that texts get the ids which the library's own tokenizer gives them.

        Raises:
            ValueError: where they do not: it ends texts in another way.
        """
        for text in ("a red car", "two dogs play on the beach " * self.context):
            padding = "max_length" if self._full else False
            encoding = self._tokenizer(text, truncation=True, max_length=self.context, padding=padding)
            ids = encoding["input_ids"]
            if self([text])[0].tolist() != ids:
                raise ValueError(
                    f"its tokenizer ends or pads texts in a way that is not known here: {ids[:1]} … {ids[-2:]}"
                )

    def backend(self) -> Backend:
        """Return the same tokenizer as one of the ``tokenizers`` library.

        Raises:
            LookupError: for one that is not built on that library.
        """
        backend = backend_of(self._tokenizer)
        if backend is None:
            raise LookupError(f"{type(self._tokenizer).__name__} is not built on the tokenizers library")
        return padded(backend, self.context, self._pad, self.end, full=self._full)

    @property
    def padding(self) -> int:
        """The id of padding."""
        return self._pad

    def save_pretrained(self, folder: Path) -> None:
        """Write the files that ``transformers`` reads the tokenizer from; texts are as long as they are here."""
        kept, self._tokenizer.model_max_length = self._tokenizer.model_max_length, self.context
        self._tokenizer.save_pretrained(folder)
        self._tokenizer.model_max_length = kept

    def stated(self) -> str:
        return f"{stated(self._tokenizer)} {self.context} {self.end} {self._pad} {self._full}"

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it."""
        rows = self._tokenizer(list(captions), truncation=False, split_special_tokens=True)["input_ids"]
        return torch.tensor([len(r) + (r[-1:] != [self.end]) > self.context for r in rows])


def padded(tokenizer: Backend, context: int, pad: int, end: int, *, full: bool) -> Backend:
    """Return a copy of a tokenizer that cuts texts to a context, ends them all in one token and pads them.

    Args:
        tokenizer: the one to copy.
        context: the most tokens of a text.
        pad, end: ids.
        full: whether every text is as long as the context; else texts are as long as the longest beside them.
    """
    from tokenizers import Tokenizer, processors

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    if copy.encode("a").ids[-1:] != [end]:
        name = copy.id_to_token(end)
        ending = processors.TemplateProcessing(single=f"$A {name}", special_tokens=[(name, end)])
        before = copy.post_processor
        copy.post_processor = ending if before is None else processors.Sequence([before, ending])
    copy.enable_truncation(max_length=context)
    copy.enable_padding(pad_id=pad, pad_token=copy.id_to_token(pad), length=context if full else None)
    return copy


def backend_of(tokenizer: Any) -> Backend | None:
    """Return the tokenizer of the ``tokenizers`` library that one of ``transformers`` is built on; None for others."""
    return getattr(tokenizer, "backend_tokenizer", None)  # which those of that library alone state


def stated(tokenizer: Any) -> str:
    """Return all that a tokenizer of ``transformers`` does, as a text; how it was last called does not count."""
    backend = backend_of(tokenizer)
    if backend is None:
        return str(sorted(tokenizer.get_vocab().items()))
    return json.dumps({**json.loads(backend.to_str()), "truncation": None, "padding": None})
