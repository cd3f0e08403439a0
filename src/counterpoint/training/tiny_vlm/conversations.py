"""Conversations that the tiny model reads, as tokens: questions, captions and ratings of scenes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ...data.items import Question
from ...data.rng import Rng
from ...data.synthetic.scenes.items.instructions import INSTRUCTIONS as REQUESTS
from ...data.synthetic.scenes.items.questions import QuestionKind, named, questions
from ...data.synthetic.scenes.scene import COLOURS, UNIT, Scene, Thing
from ...data.synthetic.scenes.words import captions, paragraphs
from ...data.synthetic.scenes.words.grammar import grammar
from ...data.synthetic.scenes.world import Scenes
from ...decoding.assistant import DESCRIBE, DESCRIBED
from ...evaluation import prompts as chat
from ...networks.tiny_vlm import ASSISTANT, END, IMAGE, START, USER
from ...recipes.tiny_vlm import TinyVLM
from .grounding import NO_WORD, first_token


class GroundedExchange(NamedTuple):
    """A question or request, and the reply.

    Attributes:
        request, reply: as they are written.
        fact: the word that the picture tells and the reply rests on: *blue* of "Is the cat red?"; empty for none.
    """

    request: str
    reply: str
    fact: str = ""


ASKED: dict[QuestionKind, int] = {
    "existence": 2,
    "count": 1,
    "choose count": 2,
    "colour": 2,
    "choose colour": 1,
    "size": 1,
    "relation": 3,
    "choose relation": 2,
    "comparison": 1,
    "choose object": 1,
}
"""Times that a scene is asked a question of each kind. ``adversarial existence`` is left out: it would teach that the
usual partner of what is there is as often absent, and so take away the bias that the world has."""
_SIDES = {"left": "right", "right": "left", "above": "below", "below": "above"}
_ENGLISH = grammar("en").lexicon
_TOLD: dict[str, Collection[str]] = {
    "colour": COLOURS,
    "choose colour": COLOURS,
    "size": {words[0][0] for words in _ENGLISH.sizes.values()},
    "count": _ENGLISH.numbers,
    "choose count": _ENGLISH.numbers,
    "relation": _SIDES,
    "choose relation": _SIDES,
}
"""Words, by kind of question, one of which the picture tells."""
CLOSED = ("choose object", "choose relation")
"""Kinds of questions that always say what can be answered."""
_FEWER = 0.7  # of the answers "one", which would be most numbers, are left out
_LED, _RIGHT = 0.15, 0.8  # of the questions have a lead, of which so many are right: enough to be believed
_DESCRIBED = 0.05  # of the other questions come after a caption
DETAILED = (REQUESTS["long"], DESCRIBE)
LIST = REQUESTS["list"]
PLACED = 2
"""Number of things in a scene whose place is asked: who knows where two things are can say how they stand."""
PART = "In which part of the picture is {}?"
RATING = "Rate the quality of the image."
LEVELS = (("good", "fine", "high"), ("average", "acceptable", "medium"), ("poor", "bad", "low"))
"""Words for the quality of a picture that is sharp, slightly and badly corrupted."""
WORD_WEIGHTS = (6, 3, 1)
"""Weights of the words of a level: raters have words that they like, and so has a model that read these raters."""
_LEVEL = {0: 0, 1: 1, 2: 2, 3: 2}
_NEAR = 0.15  # probability that a rating is off by one level


def exchanges(world: Scenes, row: int) -> Iterator[GroundedExchange]:
    """Yield everything that is asked about one scene, in a fixed order.

    A yes/no question comes with the answer yes or no as a fair coin says, and most of the numbers that are one are not
    asked for. Half of all questions say what can be answered, as `chat.prompt` does; some say first what the asker
    believes, who is mostly right, or what a caption says.
    """
    scene, config = world.scene(row), world.config(row)
    index, stream = int(world.ids[row]), f"{world.name} conversations"
    caption = _sentence(captions.short(scene).text)
    for kind, times in ASKED.items():
        for time in range(times):
            # A stream for each time: another kind, or one more of one kind, leaves the others as they are.
            draws = Rng(world.preset.seed, index, f"{stream} {time}")
            candidates = questions(kind, scene, draws, config)
            if not candidates:
                continue
            one = candidates[draws.integer(f"{kind} answer", 0, len(candidates) - 1)]
            if one.answer == "one" and draws.happens("one thing", _FEWER):
                continue
            closed = kind in CLOSED or draws.happens(f"{kind} closed", 0.5)
            text = chat.prompt(one) if closed else one.text
            if draws.happens(f"{kind} led", _LED):
                text = _led(one, text, draws)
            elif draws.happens(f"{kind} described", _DESCRIBED):
                text = DESCRIBED.format(description=caption, question=text)
            yield GroundedExchange(text, _sentence(one.answer), fact(one))
    draws = Rng(world.preset.seed, index, stream)
    single = [thing for thing in scene if scene.counts()[thing.concept] == 1]
    for thing in draws.sample("placed", single, min(PLACED, len(single))):
        yield GroundedExchange(PART.format(named(thing.concept, "the")), _sentence(position_of(thing)))
    description = captions.short(scene, "en", draws)
    yield GroundedExchange(draws.choice("instruction", chat.INSTRUCTIONS), _sentence(description.text))
    detailed = " ".join(_sentence(each.text) for each in paragraphs.long(scene, "en", draws))
    yield GroundedExchange(draws.choice("detailed", DETAILED), detailed)
    yield GroundedExchange(LIST, _sentence(", ".join(captions.tags(scene))))
    yield GroundedExchange(RATING, _sentence(rating(scene, draws)))


def fact(question: Question) -> str:
    """Return the colour, size, number or side that the picture tells about what is asked; empty for other questions.

    >>> fact(Question("colour", "Is the cat red?", "no", ("yes", "no"), "the cat is blue"))
    'blue'
    >>> fact(Question("relation", "Is the dog above the cat?", "no", ("yes", "no"), "the cat is above the dog"))
    'below'
    """
    if question.kind not in _TOLD:
        return ""
    known = _TOLD[question.kind]
    word = next((word for word in (question.reason or question.answer).split() if word in known), "")
    opposite = question.kind == "relation" and question.answer == "no"  # its reason is about the other one
    return _SIDES.get(word, word) if opposite else word


def _led(question: Question, text: str, draws: Rng) -> str:
    """Return the question from someone who says what the answer is, and is mostly right."""
    kind = question.kind
    answer = question.answer
    if not draws.happens(f"{kind} lead right", _RIGHT):
        answer = draws.choice(f"{kind} lead", [one for one in question.options if one != answer])
    lead = draws.choice(f"{kind} tone", list(chat.LEADS.values()))
    return lead.format(answer=answer, question=text)


def position_of(thing: Thing) -> str:
    """Return the third of the picture that a thing is in, each way.

    >>> position_of(Thing("cat", None, "small", 200, 900, 100)), position_of(Thing("cat", None, "small", 200, 500, 500))
    ('at the top right', 'in the middle')
    """
    across = ("left", "", "right")[3 * thing.x // UNIT]
    down = ("top", "", "bottom")[3 * thing.y // UNIT]
    return f"at the {down} {across}".replace("  ", " ").strip() if across or down else "in the middle"


def rating(scene: Scene, draws: Rng) -> str:
    """Draw a word for the quality of a scene's picture, from a rater who is sometimes off by one level."""
    strength = int(scene.corruption.rpartition("_")[2]) if scene.corruption else 0
    level = _LEVEL[strength]
    if draws.happens("rating off", _NEAR):
        level = min(max(level + draws.choice("rating step", (-1, 1)), 0), 2)
    return draws.weighted("rating word", LEVELS[level], WORD_WEIGHTS)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].removesuffix(".") + "."


@dataclass(frozen=True)
class Corpus:
    """Exchanges about many scenes as tokens.

    Attributes:
        tokens: of all exchanges behind one another: what is asked, ``<assistant>``, the reply, ``<end>``.
        reply: which of the tokens belong to a reply (its end included).
        facts: where an exchange has one, the first token of its fact at its ``<assistant>``; else −100.
        starts: where each exchange starts, and the end of the last one.
        rows: the first exchange of each scene, and the end of the last one.
    """

    tokens: Int[np.ndarray, " t"]
    reply: Bool[np.ndarray, " t"]
    facts: Int[np.ndarray, " t"]
    starts: Int[np.ndarray, " e"]
    rows: Int[np.ndarray, " n"]


def corpus(conversations: Sequence[Sequence[GroundedExchange]], tokenizer: PreTrainedTokenizerFast) -> Corpus:
    """Return the exchanges of scenes as tokens."""
    assistant, end = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    flat = [exchange for one in conversations for exchange in one]
    prompts = tokenizer([one.request for one in flat], add_special_tokens=False)["input_ids"]
    replied = tokenizer([one.reply for one in flat], add_special_tokens=False)["input_ids"]
    known = {word: first_token(tokenizer, word) for word in {one.fact for one in flat}}
    tokens: list[int] = []
    reply: list[bool] = []
    facts: list[int] = []
    starts = [0]
    for one, question, answer in zip(flat, prompts, replied, strict=True):
        tokens += [*question, assistant, *answer, end]
        reply += [False] * (len(question) + 1) + [True] * (len(answer) + 1)
        facts += [*[NO_WORD] * len(question), known[one.fact], *[NO_WORD] * (len(answer) + 1)]
        starts.append(len(tokens))
    rows = np.cumsum([0, *(len(one) for one in conversations)])
    return Corpus(np.array(tokens, np.int32), np.array(reply), np.array(facts), np.array(starts), rows)


@dataclass(frozen=True)
class Packs:
    """Several conversations about each of some pictures, in one sequence each.

    The picture comes first, once. Each conversation sees it (or, if it is blind, does not) and itself, and no
    other one; its positions follow the picture's, so it reads exactly as if it stood alone.

    Attributes:
        tokens: ``<start><user>``, the picture, then conversations.
        positions: of the tokens, as each conversation counts them.
        targets: the next token where that belongs to a reply, else −100.
        weights: of the targets; those of a reply sum to one, so that a word counts as much as a paragraph.
        facts: at an ``<assistant>`` that sees the picture the first token of the exchange's fact, else −100.
        mask: 0 where a token sees another, −∞ where not.
    """

    tokens: Int[Tensor, "n t"]
    positions: Int[Tensor, "n t"]
    targets: Int[Tensor, "n t"]
    weights: Float[Tensor, "n t"]
    facts: Int[Tensor, "n t"]
    mask: Float[Tensor, "n 1 t t"]


class Packer:
    """Draws conversations for pictures and packs them.

    Args:
        corpus: the exchanges.
        tokenizer: whose tokens they are.
        recipe: how many, how often blind, how often continued.
    """

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: TinyVLM) -> None:
        self.corpus, self.recipe = corpus, recipe
        ids = tokenizer.convert_tokens_to_ids
        self._user, self._pad = ids(USER), tokenizer.pad_token_id
        self._picture = (recipe.image_size // recipe.patch) ** 2
        self._prefix = np.array([ids(START), ids(USER), *[ids(IMAGE)] * self._picture])

    def __call__(self, rows: Int[np.ndarray, " n"], generator: np.random.Generator) -> Packs:
        packs = [self._pack(int(row), generator) for row in rows]
        length = max(len(tokens) for tokens, *_ in packs)
        n, prefix = len(packs), len(self._prefix)
        tokens = np.full((n, length), self._pad)
        positions = np.zeros((n, length), np.int64)
        block = np.full((n, length), -2)  # of padding: it sees itself alone
        blind = np.zeros((n, length), np.bool_)
        targets, weights = np.full((n, length), NO_WORD), np.zeros((n, length), np.float32)
        facts = np.full((n, length), NO_WORD)
        for i, (words, places, weight, fact_row, blocks, unseeing) in enumerate(packs):
            end = len(words)
            facts[i, :end] = np.where(unseeing, NO_WORD, fact_row)
            tokens[i, :end], positions[i, :end] = words, places
            block[i, :end], blind[i, :end] = blocks, unseeing
            # Each place learns the token after it.
            targets[i, : end - 1][weight[1:] > 0] = words[1:][weight[1:] > 0]
            weights[i, : end - 1] = weight[1:]
        order = np.arange(length)
        picture = (order >= 2) & (order < prefix)
        same = block[:, :, None] == block[:, None, :]
        before = (block[:, None, :] == -1) & ~(blind[:, :, None] & picture)
        sees = (same | before) & (order[:, None] >= order)
        mask = torch.zeros(n, 1, length, length).masked_fill_(~torch.from_numpy(sees)[:, None], -torch.inf)
        return Packs(
            torch.from_numpy(tokens),
            torch.from_numpy(positions),
            torch.from_numpy(targets),
            torch.from_numpy(weights),
            torch.from_numpy(facts),
            mask,
        )

    def _pack(self, row: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Pack tokens, positions, weights of replies, facts, conversations (−1: before all), whether each is blind."""
        corpus, recipe, prefix = self.corpus, self.recipe, len(self._prefix)
        nothing = np.full(prefix, NO_WORD)
        outside = np.full(prefix, -1)
        parts = [
            (self._prefix, np.arange(prefix), np.zeros(prefix), nothing, outside, np.zeros(prefix, bool))
        ]
        number, position, blind, room = -1, 0, False, recipe.conversation.tokens
        for exchange in generator.permutation(np.arange(corpus.rows[row], corpus.rows[row + 1])):
            span = slice(corpus.starts[exchange], corpus.starts[exchange + 1])
            tokens, weight = corpus.tokens[span], corpus.reply[span] / corpus.reply[span].sum()
            fact = corpus.facts[span]
            if number >= 0 and generator.random() < recipe.continued:
                tokens, weight = np.append(self._user, tokens), np.append(0.0, weight)
                fact = np.append(NO_WORD, fact)
            else:
                number, blind = number + 1, generator.random() < recipe.blind
                # A blind one counts on from <start><user>, as if no picture had been given.
                position = 2 if blind else prefix
            size = len(tokens)
            room -= size
            # The first conversation stays however long it is, so that no picture comes without one.
            if room < 0 and number > 0:
                break
            parts.append(
                (
                    tokens,
                    position + np.arange(size),
                    weight,
                    fact,
                    np.full(size, number),
                    np.full(size, blind),
                )
            )
            position += size
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
