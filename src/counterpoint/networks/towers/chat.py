"""Conversations as tokens, in the chat template of a language model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...files import write_text
from ...raw import Conversation
from ..tiny_vlm import CHAT_TEMPLATE, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKEN, REPLY, EXCHANGE = range(3)
"""Channels of the tensor of a conversation."""
WHOLE: Final = "whole"
"""All exchanges of a row, each of which sees those in front of it."""
_MARK = "request"
_REMEMBERED = 2**14  # conversations
_SPECIAL = ("pad_token", "bos_token", "eos_token")


@final
class Chat:
    """The input of a language model: conversations in its chat template.

    The tensor ``(B, 3, context)`` holds for each place the token, 1 where the token belongs to a reply or ends it
    (else 0), and the number of its exchange from 1 (0 for padding). Longer conversations are cut on the right. A last
    exchange with an empty reply ends where the reply would begin.

    Text is split into tokens piece by piece, a prompt and a reply at a time, as a model reads and writes them. The
    first ``opening`` tokens are the same in every conversation, and the first ``turn_opening`` of every later exchange;
    a picture stands behind them.

    Args:
        tokenizer: of transformers, with a chat template.
        context: the most tokens of a conversation.
        image: the word for a picture in a template that writes pictures; the picture stands in its place.

    Attributes:
        exchanges: of a row that training reads behind its pictures: one, several that do not see each other (see
            `pack`), or ``whole``.

    Raises:
        ValueError: for a tokenizer without a chat template or an end token, and for a template in which a prompt is not
            the beginning of the conversation, or a reply does not end in the end token.

    >>> from counterpoint.raw import Exchange
    >>> chat = Chat.fit([[(Exchange("What is it?", "A cat."),)]], vocabulary=270, context=24)
    >>> tokens = chat([(Exchange("What?", "A cat."),)])
    >>> tokens.shape, chat.decode(tokens[0, 0][tokens[0, 1] == 1])
    (torch.Size([1, 3, 24]), 'A cat.')
    """

    file = "chat.json"
    exchanges: int | Literal["whole"] = 1

    def __init__(self, tokenizer: PreTrainedTokenizerFast, context: int, image: str = "") -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                "its tokenizer has no chat template, which says how a request and a reply are written: set "
                "tokenizer.chat_template and save the tokenizer again"
            )
        if tokenizer.eos_token_id is None:
            raise ValueError("its tokenizer has no end token (eos_token), which ends a reply")
        self.tokenizer, self.context, self.image = tokenizer, context, image
        self._written: dict[Conversation, list[tuple[int, int, int]]] = {}
        self.end = int(tokenizer.eos_token_id)
        self.padding = self.end if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.vocabulary = len(tokenizer)
        rendered = self._rendered([("user", _MARK)], prompt=True)
        if _MARK not in rendered:
            raise ValueError("its chat template leaves the request out")
        self._opening, found, _ = rendered.partition(image or _MARK)
        if not found:
            raise ValueError(f"its chat template leaves the picture ({image}) out")
        self.opening = len(self._split(self._opening))
        *_, (later, reply) = self._pieces(((_MARK, "one"), (_MARK, "two")))
        self._later = self._split(later.partition(_MARK)[0])
        self.turn_opening = len(self._later)
        if self.end not in self._split(reply):
            raise ValueError("its chat template does not end replies in the end token of its tokenizer")

    @classmethod
    def fit(cls, columns: Iterable[Sequence[Conversation]], vocabulary: int, context: int) -> Self:
        """Train a byte-pair tokenizer on conversations.

        Args:
            columns: conversations to train on, by column.
            vocabulary: the most tokens.
            context: the most tokens of a conversation.

        Raises:
            ValueError: for a vocabulary without room for the bytes, and a context that no reply fits into.
        """
        rows = [row for column in columns for row in column]
        tokenizer = train_tokenizer({text for row in rows for pair in row for text in pair}, vocabulary)
        tokenizer.chat_template = CHAT_TEMPLATE
        made = cls(tokenizer, context)
        some = [row for row in rows if row][:256]
        if some and not made([row[:1] for row in some])[:, REPLY].any():
            raise ValueError(
                f"towers.talk_context={context} is too small: it cuts conversations before their replies begin"
            )
        return made

    def __call__(self, rows: Sequence[Conversation]) -> Int[Tensor, "B 3 L"]:
        """Return the tokens of conversations.

        Raises:
            ValueError: for a request that the template does not write behind its opening.
        """
        tokens = torch.zeros(len(rows), 3, self.context, dtype=torch.long)
        tokens[:, TOKEN] = self.padding
        for row, conversation in zip(tokens, rows, strict=True):
            written = self._tokens(conversation)[: self.context]
            if written:
                row[:, : len(written)] = torch.tensor(written).T
        return tokens

    @property
    def packs(self) -> bool:
        """Training reads several exchanges of a row that do not see each other."""
        return self.exchanges not in (1, WHOLE)

    def pack(self, rows: Sequence[Conversation]) -> Int[Tensor, "B 3 M"]:
        """Return exchanges behind one opening as tokens, each as it is when it stands alone.

        The second channel beyond the opening is that of each exchange alone, the third its number from 1. Exchanges are
        cut at the context one by one, and a row of one exchange is what a call gives.
        """
        most = max(map(len, rows), default=1) or 1
        length = self.opening + most * (self.context - self.opening)
        tokens = torch.zeros(len(rows), 3, length, dtype=torch.long)
        tokens[:, TOKEN] = self.padding
        for row, exchanges in zip(tokens, rows, strict=True):
            written = self._tokens(exchanges[:1])[: self.context]
            for number, exchange in enumerate(exchanges[1:], 2):
                alone = self._tokens((exchange,))[self.opening : self.context]
                written = [*written, *((token, reply, number) for token, reply, _ in alone)]
            row[:, : len(written)] = torch.tensor(written).T
        return tokens

    def join(self, conversations: Sequence[Int[Tensor, "3 _"]]) -> Int[Tensor, "3 n"]:
        """Return conversations of one exchange, as tokens, as one conversation of several, without padding."""
        parts = []
        for number, talk in enumerate(conversations, 1):
            used = talk[:, talk[EXCHANGE] > 0]
            if number > 1:
                opening = used.new_zeros(3, self.turn_opening)
                opening[TOKEN] = used.new_tensor(self._later)
                used = torch.cat([opening, used[:, self.opening :]], 1)
            parts.append(torch.stack([used[TOKEN], used[REPLY], torch.full_like(used[TOKEN], number)]))
        return torch.cat(parts, 1)

    def too_long(self, rows: Sequence[Conversation]) -> Bool[Tensor, " B"]:
        """Return which conversations the context cuts."""
        return torch.tensor([len(self._tokens(row)) > self.context for row in rows])

    def decode(self, tokens: Int[Tensor, " L"]) -> str:
        """Return the text of tokens, without special ones."""
        return str(self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True)).strip()

    def words(self, tokens: Int[Tensor, " L"]) -> list[int]:
        """Return the number of the word (`str.split`) that each token belongs to; −1 for an end token."""
        numbers, before, word = [], "", -1
        for count in range(1, len(tokens) + 1):
            text = str(self.tokenizer.decode(tokens[:count].tolist(), skip_special_tokens=True))
            new, begun = text[len(before) :], before
            word += bool(new.strip()) and (word < 0 or new[:1].isspace() or begun[-1:].isspace())
            numbers.append(-1 if int(tokens[count - 1]) == self.end else max(word, 0))
            before = text
        return numbers

    def _tokens(self, conversation: Conversation) -> list[tuple[int, int, int]]:
        # The template takes milliseconds for a conversation of many turns, which comes again in every epoch.
        if conversation not in self._written:
            if len(self._written) >= _REMEMBERED:
                self._written.clear()
            self._written[conversation] = self._split_conversation(conversation)
        return self._written[conversation]

    def _split_conversation(self, conversation: Conversation) -> list[tuple[int, int, int]]:
        made: list[tuple[int, int, int]] = []
        for number, (prompt, reply) in enumerate(self._pieces(conversation or (("", ""),)), 1):
            if number == 1:
                if not prompt.startswith(self._opening):
                    raise ValueError(f"the chat template writes {prompt!r} without its usual opening")
                made += [(token, 0, 1) for token in self._split(self._opening)]
                prompt = prompt[len(self._opening) :]
            made += [(token, 0, number) for token in self._split(prompt)]
            replied = True
            for token in self._split(reply):
                made.append((token, int(replied), number))
                replied = replied and token != self.end
        return made

    def _pieces(self, conversation: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Yield the text of each prompt and of each reply, which follow one another."""
        turns: list[tuple[str, str]] = []
        written = ""
        for number, (request, reply) in enumerate(conversation, 1):
            turns.append(("user", request))
            prompt = self._render(turns, prompt=True)
            turns.append(("assistant", reply))
            whole = self._render(turns)
            if not (prompt.startswith(written) and whole.startswith(prompt)):
                raise ValueError(
                    "its chat template writes a conversation differently from its prompt, so that a reply has no place "
                    "of its own: take a template that only appends"
                )
            last = number == len(conversation) and not reply
            yield prompt[len(written) :], "" if last else whole[len(prompt) :]
            written = whole

    def _render(self, turns: Sequence[tuple[str, str]], prompt: bool = False) -> str:
        written = self._rendered(turns, prompt)
        return written.replace(self.image, "", 1) if self.image else written

    def _rendered(self, turns: Sequence[tuple[str, str]], prompt: bool) -> str:
        """Return what the template writes, with the word for the picture where there is one."""
        messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in turns]
        if self.image:
            for number, message in enumerate(messages):
                shown = [] if number else [{"type": "image"}]
                message["content"] = [*shown, {"type": "text", "text": message["content"]}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))

    def _split(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def save(self, path: str | Path) -> None:
        """Write the tokenizer, its template and the context as one JSON file."""
        stated = {
            "context": self.context,
            "template": self.tokenizer.chat_template,
            **({"picture": self.image} if self.image else {}),
            "special": {name: getattr(self.tokenizer, name) for name in _SPECIAL},
            "tokenizer": json.loads(self.tokenizer.backend_tokenizer.to_str()),
        }
        write_text(Path(path), json.dumps(stated, ensure_ascii=False))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ValueError: for a file that cannot be read.
        """
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        try:
            stated: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            backend = Tokenizer.from_str(json.dumps(stated["tokenizer"]))
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **stated["special"])
            tokenizer.chat_template = stated["template"]
            return cls(tokenizer, int(stated["context"]), str(stated.get("picture", "")))
        except Exception as error:  # tokenizers raises its own
            raise ValueError(f"{path} is not a chat tokenizer: {error}") from error
