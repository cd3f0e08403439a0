"""A caption looked at word by word: how well the picture supports each, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...decoding.prompts import message, messages_of
from ...types import Prompt
from .boxes import Box, best_box
from .lens import confidence, logit_lens, similarities
from .reading import Grid, Unembedding, read

PAPERS = {"contextual-lens": ("contextual_lens",)}

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


class Layers(NamedTuple):
    """The layers whose states are compared: one layer for the places, another for the words."""

    patches: int
    words: int


class TokenSpan(NamedTuple):
    """A word of a text and the tokens that spell it."""

    text: str
    start: int
    end: int
    tokens: slice


@dataclass(frozen=True)
class Word:
    """One word of a reply.

    Attributes:
        text: the word, ``reply[start:end]``.
        start, end: where it is in the reply.
        support: the highest cosine of its state with a place's; low is a sign of hallucination. Compare words of one
            reply, or replies about pictures of one grid.
        logit_lens: the highest probability of its tokens at any place, at the same layer.
        probability: with which the model said it.
        heat: its cosine with every place.
        box: the rectangle of places that it is nearest to.
    """

    text: str
    start: int
    end: int
    support: float
    logit_lens: float
    probability: float
    heat: Float[Tensor, "h w"]
    box: Box


@dataclass(frozen=True)
class ReplySupport:
    """A reply and what supports it.

    Attributes:
        reply: in words.
        words: of it, in order.
        layers: whose states were compared.
        grid: rows and columns of places.
    """

    reply: str
    words: tuple[Word, ...]
    layers: Layers
    grid: Grid


def contextual_lens(
    model: Any,
    tokenizer: Any,
    inputs: Mapping[str, Any],
    reply: Sequence[int] | None = None,
    *,
    layers: tuple[int, int] | None = None,
    centred: bool = False,
    least: int = 1,
    max_new_tokens: int = 64,
) -> ReplySupport:
    """Compute how well a picture supports each word of a reply, and the box that each word is nearest to.

    Args:
        model: a vision-language model of transformers.
        tokenizer: its tokenizer.
        inputs: what its processor made of one prompt with one picture.
        reply: the token ids of a reply; None lets the model answer, greedily.
        layers: of the places and of the words; the middle of the language model unless given. `best_layers` chooses
            them on labelled statements.
        centred: as in `similarities`.
        least: places that a box has at least.
        max_new_tokens: of an answer.

    Raises:
        ValueError: for several prompts, a layer that there is not, an answer without a word, and as `read` does.

    Source: ContextualLens (arXiv 2411.19187).
    """
    if len(inputs["input_ids"]) != 1:
        raise ValueError(f"contextual_lens looks at one prompt at a time, got {len(inputs['input_ids'])}")
    if reply is None:
        with torch.no_grad():
            written = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens)
        reply = written[0, inputs["input_ids"].shape[1] :].tolist()
    if not reply:
        raise ValueError("the reply is empty: there is no word to look at")
    (reading,) = read(model, inputs, [reply])
    depth = len(reading.patches)
    chosen = Layers(*(layers or (depth // 2, depth // 2)))
    if not all(0 <= layer < depth for layer in chosen):
        raise ValueError(f"layers={tuple(chosen)}: this model has layers 0 to {depth - 1}")
    text, spans = words_of(tokenizer, reply)
    if not spans:
        raise ValueError(f"the reply {text!r} has no word to look at")
    unembed = Unembedding(model)
    places = reading.patches[chosen.patches].float()
    common = places.flatten(0, 1).mean(0) if centred else torch.zeros_like(places[0, 0])
    words = []
    for span in spans:
        meaning = reading.meaning(span.tokens)[chosen.words]
        lens = logit_lens(reading.patches, unembed, reply[span.tokens])
        heat = similarities(places, meaning, centred=centred)
        words.append(
            Word(
                span.text,
                span.start,
                span.end,
                float(heat.max()),
                float(lens[chosen.patches]),
                confidence(reading, span.tokens),
                heat.cpu(),
                best_box(places - common, meaning - common, least=least),
            )
        )
    return ReplySupport(text, tuple(words), chosen, reading.grid)


def words_of(tokenizer: Any, tokens: Sequence[int]) -> tuple[str, list[TokenSpan]]:
    """Return the text of some tokens, and its words with the tokens that spell each.

    A token that spells the end of one word and the beginning of the next belongs to both; special tokens to none.
    """
    ends = [len(_text(tokenizer, tokens[: k + 1])) for k in range(len(tokens))]
    text = _text(tokenizer, tokens)
    spans = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        inside = [
            k
            for k, (before, after) in enumerate(zip([0, *ends], ends, strict=False))
            if before < end and after > start
        ]
        if inside:
            spans.append(TokenSpan(match.group(), start, end, slice(inside[0], inside[-1] + 1)))
    return text, spans


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.rstrip("\ufffd")  # the first bytes of a character whose last are in the next token


def reply_tokens(processor: Any, prompt: Prompt, reply: str) -> list[int]:
    """Return the tokens of a written reply, as the model would write them behind this prompt, without what ends it.

    Args:
        processor: of the model, with a chat template.
        prompt: what it replies to.
        reply: in words.

    Raises:
        ValueError: for a reply without a token.
    """
    messages = messages_of(prompt)
    before = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    whole = processor.apply_chat_template([*messages, message("assistant", reply)], tokenize=False)
    if not whole.startswith(before):
        whole = before + reply
    start, ids = (
        processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, whole)
    )
    special = set(processor.tokenizer.all_special_ids)
    same = next((k for k, (a, b) in enumerate(zip(start, ids, strict=False)) if a != b), len(start))
    tokens: list[int] = ids[same:]
    end = next((k for k, token in enumerate(tokens) if token in special), len(tokens))
    if not tokens[:end]:
        raise ValueError(f"the reply {reply!r} has no token to look at")
    return tokens[:end]
