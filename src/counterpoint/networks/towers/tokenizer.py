"""Captions to token ids: a byte-pair vocabulary of the training captions, and other libraries' tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...files import write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

PAD, START, END = "<pad>", "<start>", "<end>"


class BytePairTokenizer:
    """Byte-level byte-pair encoding, lower-cased, with start and end tokens.

    Every string can be encoded: the vocabulary holds all 256 bytes. Ids 0, 1 and 2 are padding, start and
    end; a caption that happens to contain their names is text like any other.

    >>> tokenizer = BytePairTokenizer.train(["a red car", "a blue car"], vocabulary=300, context=6)
    >>> tokenizer(["A car", "a red car in a blue garage"]).shape
    torch.Size([2, 6])
    >>> tokenizer.decode(tokenizer(["A Car"])[0])
    'a car'

    Raises:
        ValueError: for an unreadable file, or sizes too small for the start, the end and the bytes.
    """

    end = 2
    file = "tokenizer.json"

    def __init__(self, backend: Backend) -> None:
        if backend.truncation is None:
            raise ValueError("this tokenizer has no maximal length; train it with BytePairTokenizer.train")
        self.context: int = backend.truncation["max_length"]
        self.vocabulary: int = backend.get_vocab_size()
        self._backend = backend

    @classmethod
    def train(cls, captions: Iterable[str], vocabulary: int = 2048, context: int = 24) -> Self:
        """Learn at most ``vocabulary`` tokens from captions, whatever their order."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

        if vocabulary < 259:
            raise ValueError(f"vocabulary={vocabulary} is too small: 256 bytes and 3 special tokens need 259")
        if context < 3:
            raise ValueError(
                f"context={context} is too small: start, end and at least one token of text need 3"
            )
        backend = Tokenizer(models.BPE())
        backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, START, END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        backend.train_from_iterator(sorted(captions), trainer)
        backend.post_processor = processors.TemplateProcessing(
            single=f"{START} $A {END}", special_tokens=[(START, 1), (END, 2)]
        )
        backend.enable_truncation(max_length=context)
        backend.enable_padding(pad_id=0, pad_token=PAD)
        return cls(backend)

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        if not captions:
            return torch.zeros(0, self.context, dtype=torch.long)
        self._backend.encode_special_tokens = True  # not kept by pickle or the file, hence set here
        return torch.tensor([e.ids for e in self._backend.encode_batch(list(captions))], dtype=torch.long)

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it."""
        return torch.tensor([bool(e.overflowing) for e in self._backend.encode_batch(list(captions))])

    def decode(self, tokens: Int[Tensor, " L"]) -> str:
        """Return the text of one row of ids, without special tokens."""
        return str(self._backend.decode(tokens.tolist(), skip_special_tokens=True)).strip()

    def backend(self) -> Backend:
        """Return the same tokenizer as one of the ``tokenizers`` library."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self._backend.to_str())

    def save(self, path: str | Path) -> None:
        """Write one JSON file, which the ``tokenizers`` library reads too."""
        write_text(Path(path), self._backend.to_str(pretty=True))

    def save_pretrained(self, folder: Path, *, end: int | None = None) -> None:
        """Write the files that ``transformers`` reads a tokenizer from.

        Args:
            folder: where they go.
            end: the id that the end token gets, and the token of that id the end token's; unless given, it keeps its.
        """
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        words = json.loads(self._backend.to_str()) | {"truncation": None, "padding": None}
        if end is not None:
            swapped = {self.end: end, end: self.end}
            vocabulary = words["model"]["vocab"]
            words["model"]["vocab"] = {token: swapped.get(i, i) for token, i in vocabulary.items()}
            for added in words["added_tokens"]:
                added["id"] = swapped.get(added["id"], added["id"])
            for special in words["post_processor"]["special_tokens"].values():
                special["ids"] = [swapped.get(i, i) for i in special["ids"]]
        PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(json.dumps(words)),
            model_max_length=self.context,
            pad_token=PAD,
            bos_token=START,
            eos_token=END,
        ).save_pretrained(folder)

    @classmethod
    def load_pretrained(cls, folder: Path, context: int) -> Self:
        """Read what ``save_pretrained`` wrote, for texts of so many tokens; its end token must have kept its id.

        Raises:
            ValueError: for a folder without a tokenizer that the ``tokenizers`` library reads.
        """
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"no tokenizer at {path}")
        backend = Tokenizer.from_file(str(path))
        backend.enable_truncation(max_length=context)
        backend.enable_padding(pad_id=0, pad_token=PAD)
        return cls(backend)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote."""
        from tokenizers import Tokenizer

        try:
            text = Path(path).read_text(encoding="utf-8")
            json.loads(text)
            return cls(Tokenizer.from_str(text))
        except FileNotFoundError:
            raise ValueError(f"no tokenizer at {path}") from None
        except Exception as error:
            raise ValueError(f"{path} is not a tokenizer file: {error}") from error
