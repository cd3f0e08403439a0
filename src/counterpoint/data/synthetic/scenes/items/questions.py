"""Questions about a scene whose answers are known: yes or no in exact balance, and choices among a few answers.

Yes/no questions come in pairs, one of each answer, about the same scene and in the same words where that can be
(``Is the cat above the dog?``, ``Is the dog above the cat?``), so whoever does not look is right half of the time.

Besides, absurd ones, about what is not there: ``What colour is the cat?``, and tagged ones, about one of several like
things: ``What colour is the cat [2]?``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

from .....registry import unknown
from ....items import YES_OR_NO, Question
from ....rng import Rng
from ..concepts import CONCEPTS
from ..config import SceneConfig
from ..scene import OPPOSITE, RELATIONS, SIZES, RelationKind, Scene, Thing, relation_holds
from ..words.grammar import Appearance, Determiner, grammar

QuestionKind = Literal[
    "existence",
    "popular existence",
    "adversarial existence",
    "count",
    "colour",
    "size",
    "relation",
    "comparison",
    "choose object",
    "choose count",
    "choose colour",
    "choose size",
    "choose relation",
    "absurd",
    "tagged",
]
ABSURD: QuestionKind = "absurd"
TAGGED: QuestionKind = "tagged"
QUESTIONS: tuple[QuestionKind, ...] = tuple(
    kind for kind in get_args(QuestionKind) if kind not in (ABSURD, TAGGED)
)
"""The kinds that a picture answers."""
OF_ALBUMS: tuple[QuestionKind, ...] = ("choose colour", "choose size")
"""The kinds that can be asked about two pictures at once."""
DOES_NOT_APPLY = "does not apply"
"""The answer to an absurd question."""

OPTIONS = 4
"""Answers to choose from, where there are as many."""
POPULAR = 10
"""Concepts that count as frequent."""

_ENGLISH = grammar("en")
_WORDS = _ENGLISH.lexicon


def questions(kind: str, scene: Scene, draws: Rng, config: SceneConfig | None = None) -> tuple[Question, ...]:
    """Return the questions of one kind about a scene: one answered yes and one answered no, or one choice.

    There are none where the scene lacks what is asked about.

    - ``existence`` asks about something that is there and something that is not. The latter is drawn from all
      concepts; for ``popular``, from the most frequent ones of a world with a long tail; for ``adversarial``, it is
      the usual partner of what is there, absent this once (the three kinds of POPE).
    - ``count`` asks for an exact number, and for another one up to two away.
    - ``colour``, ``size``: of a thing that is the only one of its concept; the wrong colour is another thing's where
      there is one.
    - ``relation``: with subject and object either way round.
    - ``comparison``: which of two there are more of, or else which of two is larger, either way round.
    - ``choose …``: among four answers (three sizes); the wrong ones are colours of other things first, numbers near by,
      partners and the like of what is there.
    - ``absurd`` asks for the colour or the size of something that is not there, where the scene has something that
      could be asked the same: so the words alone do not give it away. The answer is `DOES_NOT_APPLY`.
    - ``tagged`` asks for the colour of one of several things of a concept, which the number of its box tells apart:
      ``What colour is the cat [2]?`` Numbers are places in ``scene.things``, from 1; the boxes of a world's column are
      in this order where every thing is seen.

    Args:
        kind: one of `QUESTIONS`, ``absurd`` or ``tagged``.
        scene: asked about; its clutter counts, as it is there.
        draws: decide what is asked.
        config: of the scene's world: what might have been there.

    Raises:
        UnknownNameError: for a kind that is not known.

    >>> cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", None, "large", 400, 700, 500)
    >>> for question in questions("comparison", Scene(0, (cat, dog)), Rng(0, 0)):
    ...     print(question.text, question.answer)
    Is the dog larger than the cat? yes
    Is the cat larger than the dog? no
    """
    for each, ask in _ASKING.items():
        if each == kind:
            return ask(scene, draws, config or SceneConfig())
    raise unknown("kind of question", kind, _ASKING)


def _either(kind: QuestionKind, yes: str, no: str, reason: str = "") -> tuple[Question, ...]:
    return tuple(
        Question(kind, text, answer, YES_OR_NO, reason) for text, answer in ((yes, "yes"), (no, "no"))
    )


def _choice(
    kind: QuestionKind, draws: Rng, text: str, answer: str, wrong: Iterable[str]
) -> tuple[Question, ...]:
    """Return a choice of an answer and the first of the wrong ones, in random order."""
    options = list(dict.fromkeys([answer, *wrong]))[:OPTIONS]
    if len(options) < 2:
        return ()
    return (Question(kind, text, answer, tuple(draws.sample(f"{kind} order", options, len(options)))),)


def named(concept: str, determiner: Determiner, count: int = 1) -> str:
    """Return a thing or several as questions speak of them.

    >>> named("cat", "the"), named("cat", "", 2)
    ('the cat', 'cats')
    """
    return _ENGLISH.phrase(Appearance(concept), count, determiner).text


def _single(scene: Scene) -> list[Thing]:
    """Return the things that are the only one of their concept, so that "the cat" is one of them."""
    counts = scene.counts()
    return [thing for thing in scene if counts[thing.concept] == 1]


def _absent(scene: Scene, concepts: Sequence[str]) -> list[str]:
    return [concept for concept in concepts if concept not in scene.counts()]


def widowed(scene: Scene, config: SceneConfig) -> list[tuple[str, str]]:
    """Return concepts that are there whose usual partner is not."""
    reversed_pairs = [pair[::-1] for pair in config.pairs]
    present = scene.counts()
    return [(a, b) for a, b in (*config.pairs, *reversed_pairs) if a in present and b not in present]


def _exists(kind: QuestionKind, present: str, absent: str) -> tuple[Question, ...]:
    yes, no = (f"Is there {named(concept, 'a')} in the picture?" for concept in (present, absent))
    return _either(kind, yes, no)


def _existence(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    absent = _absent(scene, config.concepts)
    if not scene.things or not absent:
        return ()
    present = draws.choice("existence present", list(scene.counts()))
    return _exists("existence", present, draws.choice("existence absent", absent))


def _popular(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    absent = _absent(scene, config.concepts[:POPULAR] if config.tail else ())
    if not scene.things or not absent:
        return ()
    present = draws.choice("popular present", list(scene.counts()))
    return _exists("popular existence", present, draws.choice("popular absent", absent))


def _adversarial(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    alone = widowed(scene, config)
    return _exists("adversarial existence", *draws.choice("adversarial", alone)) if alone else ()


def _count(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not scene.things:
        return ()
    concept, count = draws.choice("count", list(scene.counts().items()))
    near = [n for n in range(max(count - 2, 1), min(count + 3, len(_WORDS.numbers))) if n != count]
    yes, no = (
        f"{'Is' if n == 1 else 'Are'} there exactly {_WORDS.numbers[n]} {named(concept, '', n)} in the picture?"
        for n in (count, draws.choice("count wrong", near))
    )
    return _either("count", yes, no, _there_are([(concept, count)]))


def _colour(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    dyed = [thing for thing in _single(scene) if thing.colour]
    if not dyed:
        return ()
    thing = draws.choice("colour", dyed)
    wrong = _other_colours(thing, scene, draws, config)
    if not wrong:
        return ()
    yes, no = (f"Is {named(thing.concept, 'the')} {colour}?" for colour in (thing.colour, wrong[0]))
    return _either("colour", yes, no, f"{named(thing.concept, 'the')} is {thing.colour}")


def _other_colours(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[str]:
    """Return the wrong colours of a thing: other things' first."""
    shown = [other.colour for other in scene if other.colour]
    colours = [*dict.fromkeys(shown), *draws.sample("colours", config.colours, len(config.colours))]
    return [colour for colour in dict.fromkeys(colours) if colour != thing.colour]


def _size(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not _single(scene):
        return ()
    thing = draws.choice("size", _single(scene))
    wrong = draws.choice("size wrong", [size for size in SIZES if size != thing.size])
    yes, no = (
        f"Is {named(thing.concept, 'the')} {_WORDS.sizes[size][0][0]}?" for size in (thing.size, wrong)
    )
    return _either("size", yes, no, _is_large(thing))


def _plain(scene: Scene) -> list[tuple[RelationKind, Thing, Thing]]:
    """Return the relations between things that can be named without saying more."""
    single = _single(scene)
    places = [(index, thing) for index, thing in enumerate(scene) if thing in single]
    return [
        (kind, a, b)
        for i, a in places
        for j, b in places
        if i != j
        for kind in RELATIONS
        if relation_holds(kind, a, b, hidden=i < j)
    ]


def _stands(kind: RelationKind, other: Thing) -> str:
    return f"{_WORDS.relations[kind][0]} {named(other.concept, 'the')}"


def _relation(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not _plain(scene):
        return ()
    kind, a, b = draws.choice("relation", _plain(scene))
    yes, no = (f"Is {named(x.concept, 'the')} {_stands(kind, y)}?" for x, y in ((a, b), (b, a)))
    return _either("relation", yes, no, f"{named(a.concept, 'the')} is {_stands(kind, b)}")


def _comparison(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    counts, single = scene.counts(), _single(scene)
    more = [(a, b) for a in counts for b in counts if counts[a] > counts[b]]
    if more:
        a, b = draws.choice("comparison", more)
        yes, no = (
            f"Are there more {named(x, '', 2)} than {named(y, '', 2)} in the picture?"
            for x, y in ((a, b), (b, a))
        )
        return _either("comparison", yes, no, _there_are([(a, counts[a]), (b, counts[b])]))
    larger = [(a, b) for a in single for b in single if SIZES.index(a.size) > SIZES.index(b.size)]
    if not larger:
        return ()
    one, two = draws.choice("comparison", larger)
    yes, no = (
        f"Is {named(x.concept, 'the')} larger than {named(y.concept, 'the')}?"
        for x, y in ((one, two), (two, one))
    )
    return _either("comparison", yes, no, f"{_is_large(one)} and {_is_large(two)}")


def _there_are(counted: Sequence[tuple[str, int]]) -> str:
    """Return a reason that tells the numbers of things, as in "there are two cats and one dog"."""
    things = " and ".join(f"{_WORDS.numbers[n]} {named(concept, '', n)}" for concept, n in counted)
    return f"there {'is' if counted[0][1] == 1 else 'are'} {things}"


def _is_large(thing: Thing) -> str:
    return f"{named(thing.concept, 'the')} is {_WORDS.sizes[thing.size][0][0]}"


def _choose_object(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not scene.things:
        return ()
    present = draws.choice("object", list(scene.counts()))
    others = draws.sample("objects", absent := _absent(scene, config.concepts), len(absent))
    others.sort(key=lambda concept: CONCEPTS[concept].kind != CONCEPTS[present].kind)
    partners = [b for a, b in widowed(scene, config) if a == present]
    wrong = (named(concept, "a") for concept in (*partners, *others))
    return _choice("choose object", draws, "Which of these is in the picture?", named(present, "a"), wrong)


def _choose_count(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not scene.things:
        return ()
    concept, count = draws.choice("choose count", list(scene.counts().items()))
    first = max(1, count - draws.integer("choose count first", 0, OPTIONS - 1))
    first = min(first, len(_WORDS.numbers) - OPTIONS)  # there are words up to twenty-five
    numbers = [_WORDS.numbers[n] for n in range(first, first + OPTIONS)]
    text = f"How many {named(concept, '', 2)} are in the picture?"
    return _choice("choose count", draws, text, _WORDS.numbers[count], numbers)


def _choose_colour(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    dyed = [thing for thing in _single(scene) if thing.colour]
    if not dyed:
        return ()
    thing = draws.choice("choose colour", dyed)
    wrong = _other_colours(thing, scene, draws, config)
    text = _FREE["choose colour"].format(named(thing.concept, "the"))
    return _choice("choose colour", draws, text, str(thing.colour), wrong)


def _choose_size(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    if not _single(scene):
        return ()
    thing = draws.choice("choose size", _single(scene))
    answer, *wrong = (_WORDS.sizes[size][0][0] for size in (thing.size, *SIZES))
    text = _FREE["choose size"].format(named(thing.concept, "the"))
    return _choice("choose size", draws, text, answer, wrong)


def _choose_relation(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    plain = [relation for relation in _plain(scene) if relation[0] in OPPOSITE]
    if not plain:
        return ()
    kind, a, b = draws.choice("choose relation", plain)
    text = f"Where is {named(a.concept, 'the')}?"
    return _choice(
        "choose relation", draws, text, _stands(kind, b), (_stands(other, b) for other in OPPOSITE)
    )


_FREE: dict[QuestionKind, str] = {
    "choose colour": "What colour is {}?",
    "choose size": "How large is {}?",
}


def _absurd(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    forms = [form for kind, form in _FREE.items() if _ASKING[kind](scene, draws, config)]
    absent = _absent(scene, config.concepts)
    if not forms or not absent:
        return ()
    text = draws.choice("absurd form", forms).format(named(draws.choice("absurd", absent), "the"))
    return (Question("absurd", text, DOES_NOT_APPLY),)


def _tagged(scene: Scene, draws: Rng, config: SceneConfig) -> tuple[Question, ...]:
    counts = scene.counts()
    alike = [(tag, thing) for tag, thing in enumerate(scene, 1) if thing.colour and counts[thing.concept] > 1]
    if not alike:
        return ()
    tag, thing = draws.choice("tagged", alike)
    text = _FREE["choose colour"].format(f"{named(thing.concept, 'the')} [{tag}]")
    return (Question(TAGGED, text, str(thing.colour), config.colours),)


_ASKING: dict[QuestionKind, Callable[[Scene, Rng, SceneConfig], tuple[Question, ...]]] = {
    "existence": _existence,
    "popular existence": _popular,
    "adversarial existence": _adversarial,
    "count": _count,
    "colour": _colour,
    "size": _size,
    "relation": _relation,
    "comparison": _comparison,
    "choose object": _choose_object,
    "choose count": _choose_count,
    "choose colour": _choose_colour,
    "choose size": _choose_size,
    "choose relation": _choose_relation,
    "absurd": _absurd,
    "tagged": _tagged,
}
