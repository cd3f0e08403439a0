"""Rounds of training on sampled replies: sampling, replies as numbers of an item, and a critic."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..networks.caption_generation import generate
from ..networks.speaker import Speaker
from ..networks.towers.chat import EXCHANGE, REPLY, TOKEN

PAPERS = {
    "distillm-2": ("sampled_replies", "conversations_of"),
    "illume": ("sampled_replies", "conversations_of", "rouge_l"),
    "step-on-feet-tuning": ("sampled_replies", "conversations_of", "distinct"),
}


def reply_starts(talk: Int[Tensor, "B 3 L"]) -> Int[Tensor, " B"]:
    """Return the position of the first token of the last reply of each conversation; 0 without a reply."""
    last = talk[:, EXCHANGE] == talk[:, EXCHANGE].amax(1, keepdim=True)
    spoken = (talk[:, REPLY] > 0) & last
    return torch.where(spoken.any(1), spoken.to(torch.uint8).argmax(1), 0)


@torch.no_grad()
def sampled_replies(
    speaker: Speaker,
    patches: Float[Tensor, "B n w"],
    talk: Int[Tensor, "B 3 L"],
    ids: Int[Tensor, " B"],
    seed: int,
    *,
    temperature: float,
    length: int,
) -> Float[Tensor, "B L"]:
    """Return conversations whose last reply is sampled, as numbers.

    A number is 1 + the token, negative for a token of the sampled reply, and 0 for none. A conversation without a reply
    is 0 throughout. A sample follows from the seed and the row's id, whatever rows stand beside it.

    Args:
        speaker: writes the replies.
        patches: of the pictures.
        talk: conversations; their last reply is not read.
        ids: of the rows.
        seed: of the round.
        temperature: of the sampling.
        length: tokens after which a reply is cut off.
    """
    end, starts = speaker.language.chat.end, reply_starts(talk)
    written = torch.zeros(len(talk), talk.shape[2], device=talk.device)
    for start in torch.unique(starts[starts > 0]).tolist():
        index = (starts == start).nonzero()[:, 0]
        tokens = talk[index, TOKEN, :start]
        generators = [
            torch.Generator().manual_seed((one * 1_000_003 + seed) % (1 << 62)) for one in ids[index].tolist()
        ]
        most = min(length, talk.shape[2] - start)
        replies = generate(
            speaker.next_logits,
            patches[index],
            prompts=tokens,
            end=end,
            length=most,
            sample=True,
            temperature=temperature,
            generators=generators,
        )
        written[index, :start] = (tokens + 1).to(written.dtype)
        for row, reply in zip(index.tolist(), replies, strict=True):
            written[row, start : start + len(reply)] = -(reply + 1).to(written.dtype)
            if len(reply) < most:
                written[row, start + len(reply)] = -(end + 1)
    return written


def conversations_of(written: Float[Tensor, "B L"], padding: int) -> Int[Tensor, "B 3 L"]:
    """Return conversations as tokens, of the numbers that `sampled_replies` returns.

    >>> conversations_of(torch.tensor([[4.0, -3.0, 0.0]]), padding=9).tolist()
    [[[3, 2, 9], [0, 1, 0], [1, 1, 0]]]
    """
    tokens = torch.where(written == 0, padding, written.abs().long() - 1)
    return torch.stack([tokens, (written < 0).long(), (written != 0).long()], 1)


def rouge_l(text: str, reference: str) -> float:
    """Return ROUGE-L: the F-measure of the longest common subsequence of two texts' words.

    Case and punctuation do not count. A text shorter than 3 characters scores 0.

    >>> rouge_l("The cat is red.", "the cat is blue"), rouge_l("no", "no")
    (0.75, 0.0)

    Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004).
    """
    if len(text.strip()) < 3:
        return 0.0
    a, b = (re.findall(r"\w+", one.casefold()) for one in (text, reference))
    lengths = [0] * (len(b) + 1)
    for word in a:
        before = lengths
        lengths = [0]
        for number, other in enumerate(b):
            lengths.append(before[number] + 1 if word == other else max(before[number + 1], lengths[number]))
    return 2 * lengths[-1] / (len(a) + len(b)) if lengths[-1] else 0.0


def distinct(texts: Sequence[str], n: int = 1) -> float:
    """Return the share of distinct n-grams of words among all of some texts; 0 without any.

    >>> distinct(["a red cat", "a red dog"])
    0.6666666666666666
    """
    grams = [
        gram
        for words in map(str.split, texts)
        for gram in zip(*(words[start:] for start in range(n)), strict=False)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
