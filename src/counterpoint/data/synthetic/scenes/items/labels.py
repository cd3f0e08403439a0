"""Labels of scenes, of all kinds, by what words speak of; clutter has no part in them, but for marks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from ....labels import Classes, Label, Numbers, Points, Tags
from ....rng import Rng
from ..concepts import CONCEPTS, KINDS
from ..scene import COLOURS, UNIT, Scene, Thing
from ..words.captions import phrase
from ..words.lexicon import lexicon

if TYPE_CHECKING:
    from ..rows import ComposedRows

_OF = ("{}", "a picture of {}")


def label_sets(world: ComposedRows) -> dict[str, Classes]:
    """Return the label sets of every row.

    ``concept``, ``group`` (its kind) and ``colour`` are those of scenes whose things agree in them; ``count`` and
    ``background`` every scene has. A set that has fewer than two classes in this world is left out, and so are
    labels that the configuration hides.
    """
    config = world.configs
    english = lexicon("en")
    possible: dict[str, tuple[Sequence[Hashable], Sequence[str], tuple[str, ...]]] = {}
    concepts = [name for name in CONCEPTS if any(name in each.concepts for each in config)]
    named = [phrase(Thing(name, None, "medium", 240, 500, 500)) for name in concepts]
    possible["concept"] = concepts, named, _OF
    kinds = [kind for kind in KINDS if any(CONCEPTS[name].kind == kind for name in concepts)]
    possible["group"] = kinds, [english.kinds[kind].singular for kind in kinds], _OF
    counts = range(min(d.objects[0] for d in config), max(d.objects[1] for d in config) + 1)
    possible["count"] = counts, [_things(number, english.numbers) for number in counts], _OF
    colours = [c for c in COLOURS if any(each.tinted and c in each.colours for each in config)]
    possible["colour"] = colours, colours, ("{}", "something {}", "a picture of something {}")
    backgrounds = [name for name in english.backgrounds if any(name in d.backgrounds for d in config)]
    possible["background"] = backgrounds, [english.backgrounds[b][1] for b in backgrounds], _OF

    values = {name: np.full(len(world), -1) for name in possible}
    places = {
        name: {value: k for k, value in enumerate(classes)} for name, (classes, _, _) in possible.items()
    }
    for row in range(len(world)):
        hidden = world.config(row).hidden_labels
        for name, value in classes_of(world.scene(row)).items():
            if not (hidden and world.draws(row).happens(f"hidden {name}", hidden)):
                values[name][row] = places[name].get(value, -1)
    return {
        name: Classes(tuple(names), values[name], templates)
        for name, (_, names, templates) in possible.items()
        if len(names) > 1 and _tells_apart(values[name])
    }


def further_labels(world: ComposedRows) -> dict[str, Label]:
    """Return the labels of every row beyond the ways to classify scenes.

    ``concepts`` are tags, ``number`` is that of the things and ``size`` their mean side as a share of the picture's;
    ``click`` is a point at the centre of the first thing, or near it. Of worlds with marks ``marked`` says whether
    there is one, and ``mark`` which. Labels that tell no rows apart are left out, and those hidden are not known.
    """
    configs = world.configs
    concepts = [name for name in CONCEPTS if any(name in each.concepts for each in configs)]
    marks = [name for name in CONCEPTS if any(each.marked and name in each.marks for each in configs)]
    column = {name: k for k, name in enumerate(concepts)}
    tags = np.full((len(world), len(concepts)), -1, dtype=np.int8)
    number, size, click = (np.full((len(world), *of), np.nan) for of in ((), (), (2,)))
    marked, mark = np.full(len(world), -1), np.full(len(world), -1)
    for row in range(len(world)):
        scene, config, draws = world.scene(row), world.config(row), world.draws(row)
        things, hidden = scene.subjects, config.hidden_labels
        shown = {name for name in _FURTHER if not (hidden and draws.happens(f"hidden {name}", hidden))}
        if "concepts" in shown:
            tags[row] = 0
            tags[row, [column[thing.concept] for thing in things]] = 1
        if "number" in shown:
            number[row] = len(things)
        if things and "size" in shown:
            size[row] = np.mean([thing.side for thing in things]) / UNIT
        if things and "click" in shown and not draws.happens("missing click", config.missing_clicks):
            click[row] = _click(things[0], config.click_noise, draws)
        shown_marks = [marks.index(it.concept) for it in scene.things if it.clutter and it.concept in marks]
        if "marked" in shown:
            marked[row] = bool(shown_marks)
        if shown_marks and "mark" in shown:
            mark[row] = shown_marks[0]
    labels: dict[str, Label] = {}
    if len(concepts) > 1 and (tags == 1).any():
        labels["concepts"] = Tags(tuple(concepts), tags)
    for name, values in (("number", number), ("size", size)):
        if len(np.unique(values[~np.isnan(values)])) > 1:
            labels[name] = Numbers(values)
    if not np.isnan(click).all():
        labels["click"] = Points(click)
    for name, names, values in (("marked", ("plain", "marked"), marked), ("mark", tuple(marks), mark)):
        if _tells_apart(values):
            labels[name] = Classes(names, values, ())
    return labels


_FURTHER = ("concepts", "number", "size", "click", "marked", "mark")


def _tells_apart(values: Int[np.ndarray, " n"]) -> bool:
    """Return whether rows are of several classes, of those that are known."""
    return len(np.unique(values[values >= 0])) > 1


def _click(thing: Thing, noise: float, draws: Rng) -> tuple[float, float]:
    """Return a point near the centre of a thing, and in the picture, in whole thousandths of its side."""
    distance = noise * math.sqrt(-2 * math.log(1 - draws.uniform("click distance")))
    angle = 2 * math.pi * draws.uniform("click angle")
    x, y = thing.x / UNIT + distance * math.cos(angle), thing.y / UNIT + distance * math.sin(angle)
    return round(min(max(x, 0), 1), 3), round(min(max(y, 0), 1), 3)


def subset_of(scene: Scene) -> str:
    """Return the subset under which a row is reported: the number of its things, in words.

    >>> subset_of(Scene(0, ()))
    'zero things'
    """
    return _things(len(scene.subjects), lexicon("en").numbers)


def _things(number: int, numbers: Sequence[str]) -> str:
    return f"{numbers[number]} thing{'' if number == 1 else 's'}"


def classes_of(scene: Scene) -> dict[str, Hashable]:
    """Return the class of a scene by each label, None where its things do not agree."""
    things = scene.subjects
    return {
        "concept": _agreed(thing.concept for thing in things),
        "group": _agreed(CONCEPTS[thing.concept].kind for thing in things),
        "count": len(things),
        "colour": _agreed(thing.colour for thing in things),
        "background": scene.background,
    }


def _agreed(values: Iterable[Hashable]) -> Hashable:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
