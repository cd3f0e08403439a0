"""Worse replies to the requests of data, made by models and rules, and written for ``--data``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from ..data.base import Data
from ..data.derived.conversations import COLUMN, ConversationData
from ..data.derived.replied import RepliesManifest, begin_replies, check_makers, write_replies
from ..data.replies import MAKERS
from ..data.replies._maker import Maker, ReplyRequest
from ..data.source import load_any, rooted
from ..data.views.keys import key, uniform
from ..decoding.prompts import key_of
from ..execution import leased
from ..methods._speaking import SpeakingMethod
from ..types import Assistant, Prompt, ReplyAttention
from .decoding.transcript import Transcript, TranscriptAssistant


@dataclass(frozen=True)
class SamplingAssistant:
    """A method that speaks, as an assistant that samples.

    Attributes:
        model: of a run.
        temperature: of the sampling.
        max_tokens: tokens after which a reply is cut off.
    """

    model: SpeakingMethod
    temperature: float = 0.2
    max_tokens: int = 64

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        options: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return self.model.reply(prompts, seed=seed, sample=True, **options)

    def complete(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        options: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return self.model.reply(
            prompts, seed=seed, sample=True, beginnings=beginnings, hidden=hidden, **options
        )

    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        return self.model.attention(prompts, replies)

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        return self.model.word_logits(prompts, words)


_AT_ONCE = 256  # rows whose pictures are in memory


def make_replies(
    assistant: Assistant,
    source: str,
    out: Path,
    by: Sequence[str] | Mapping[str, Maker],
    *,
    model: str = "",
    seed: int = 0,
    rows: int | None = None,
    on_replies: Callable[[int], None] = lambda count: None,
) -> RepliesManifest:
    """Make worse replies to the requests of the rows to train on, and write them.

    Of a row with several exchanges one is drawn by the seed. Every reply of the assistant is written down as it comes,
    so that the same call goes on where it was stopped.

    Args:
        assistant: writes replies.
        source: data, as ``--data`` takes it.
        out: the folder.
        by: names of makers (`counterpoint.data.replies`), or makers by the names of their columns.
        model: what the assistant is called in the folder.
        seed: of the makers.
        rows: the first of so many rows to train on; all unless given.
        on_replies: is told how many more prompts have been answered.

    Raises:
        UnknownNameError: for a maker that there is none of.
        ValueError: for data without conversations, a column that bears the name of a maker, and replies in the folder
            that were made otherwise.
    """
    makers = by if isinstance(by, Mapping) else {name: MAKERS.get(name)() for name in by}
    data = load_any(source)
    if COLUMN not in data.columns:
        data = ConversationData(data)
    check_makers(data, [*makers])
    manifest = RepliesManifest(source=rooted(source), seed=seed, model=model)
    with leased(out):
        begin_replies(out, manifest)
        transcript = Transcript.read(out)

        def answered(count: int) -> None:
            transcript.write(out)
            on_replies(count)

        writing = TranscriptAssistant(assistant, transcript, answered)
        ids, asked = requests_of(data, data.splits.train[:rows], seed)
        columns: dict[str, list[str | None]] = {}
        for name, maker in makers.items():
            made = maker(writing, asked, seed)
            columns[name], manifest.refused[name] = _usable(asked, made)
        table = {
            "id": ids,
            "request": [one.prompt.text for one in asked],
            "reply": [one.reply for one in asked],
        }
        text = dict.fromkeys(columns, pl.String)
        write_replies(out, manifest, pl.DataFrame(table | columns, schema_overrides=text))
    return manifest


def requests_of(data: Data, rows: np.ndarray, seed: int) -> tuple[list[int], list[ReplyRequest]]:
    """Return the ids of rows with a picture and a conversation, and one request of each, drawn by the seed."""
    ids, asked = [], []
    rows = rows[data.present("image", rows) & data.present(COLUMN, rows)]
    parts = {int(row): data.asked_part(int(row)) for row in rows}
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        draws = uniform(key(seed, 0, data.ids_of(part), "replies"), "exchange")[:, 0].tolist()
        shown = {column for of in parts.values() if of is not None for column in of.columns} or {"image"}
        pictures = {column: data.read(column, part) for column in shown}
        for number, (row, talk, u) in enumerate(
            zip(part.tolist(), data.read(COLUMN, part), draws, strict=True)
        ):
            request, reply = talk[int(u * len(talk))]
            of = parts[row]
            columns = ("image",) if of is None else of.columns
            several = [pictures[column][number] for column in columns]
            prompt = Prompt(request, torch.stack(several) if len(several) > 1 else several[0])
            edited = data.edited_reply(row, reply, key_of(prompt, seed))
            asked.append(ReplyRequest(prompt, reply, edited, of))
            ids.append(int(data.ids[row]))
    return ids, asked


def _usable(
    asked: Sequence[ReplyRequest], made: Sequence[str | None]
) -> tuple[list[str | None], dict[str, int]]:
    """Return replies that can be compared with the good ones, None for others, and the reasons of these."""
    reasons: list[str] = []
    for one, reply in zip(asked, made, strict=True):
        if reply is None:
            reasons.append("none could be made")
        elif not reply.strip():
            reasons.append("empty")
        else:
            reasons.append("equal to the good reply" if reply.strip() == one.reply.strip() else "")
    replies = [None if why else reply for why, reply in zip(reasons, made, strict=True)]
    return replies, dict(Counter(filter(None, reasons)))
