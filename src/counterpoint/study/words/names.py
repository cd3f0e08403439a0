"""Short names of arms, as charts and tables show them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ...spec import Spec
from ..schema import StudySummary

AnySummary = TypeVar("AnySummary", bound=StudySummary)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return a short name for each arm: a loss in a file goes by its class, another arm by its own name.

    A run that all arms go on from is left out.

    Where several arms would have the same short name, each goes by its file without the folder and the class, or by
    its name in full.

    >>> list(short_names(["clip", "../my_loss.py:Hinge,margin=0.2"]).values())
    ['clip', 'Hinge,margin=0.2']
    >>> list(short_names(["a/one.py:Hinge", "b/two.py:Hinge"]).values())
    ['one.py:Hinge', 'two.py:Hinge']
    >>> list(short_names(["a/one.py:Hinge", "b/one.py:Hinge"]).values())
    ['a/one.py:Hinge', 'b/one.py:Hinge']
    >>> list(short_names(["coop,from=runs/pair", "linear,from=runs/pair,shots=4"]).values())
    ['coop', 'linear,shots=4']
    """
    choices = {name: _from_short_to_full(name) for name in names}
    if common_origin(names):  # which tells no arm from another
        for name in names:
            choices[name].insert(0, without_origin(name))
    chosen = dict.fromkeys(names, 0)
    while True:
        short = {name: choices[name][chosen[name]] for name in names}
        counts = Counter(short.values())
        ambiguous = [
            name for name in names if counts[short[name]] > 1 and chosen[name] < len(choices[name]) - 1
        ]
        if not ambiguous:
            return short
        for name in ambiguous:
            chosen[name] += 1


def common_origin(names: Sequence[str]) -> str:
    """Return the model that all arms go on from; empty where they go on from several, or from none."""
    origins = {Spec.parse(name).options.get("from", "") for name in names}
    return origins.pop() if len(origins) == 1 else ""


def without_origin(name: str) -> str:
    """Return an arm without the model that it goes on from.

    >>> without_origin("coop,from=runs/pair,shots=4")
    'coop,shots=4'
    """
    spec = Spec.parse(name)
    return str(Spec(spec.name, {option: it for option, it in spec.options.items() if option != "from"}))


def _from_short_to_full(name: str) -> list[str]:
    spec = Spec.parse(name)
    if not is_file_loss(spec):
        return [name]
    loss = spec.name.rpartition(":")[2]
    return [str(Spec(loss, spec.options)), spec.label, name]


def is_file_loss(arm: Spec) -> bool:
    """Return whether an arm is a loss that a file of Python defines: ``FILE.py:NAME``.

    >>> is_file_loss(Spec.parse("mine.py:Hinge,margin=0.2")), is_file_loss(Spec.parse("cnn@runs/a.pyramid"))
    (True, False)
    """
    file, colon, _ = arm.name.rpartition(":")
    return bool(colon) and file.endswith(".py")


def with_short_names(summary: AnySummary) -> AnySummary:
    """Return a summary whose arms have their short names, in its sentences and warnings too."""
    names = short_names([arm.name for arm in summary.arms])
    return renamed(summary, names) if any(name != short for name, short in names.items()) else summary


def renamed(summary: AnySummary, names: Mapping[str, str]) -> AnySummary:
    """Return a summary whose arms have other names.

    Args:
        summary: of a study.
        names: the new name of each arm by its name.
    """
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])")

    def said(text: str) -> str:
        return pattern.sub(lambda match: names[match[0]], text)

    return summary.model_copy(
        update={
            "arms": tuple(arm.model_copy(update={"name": names[arm.name]}) for arm in summary.arms),
            "differences": tuple(
                d.model_copy(
                    update={
                        "a": names[d.a],
                        "b": names[d.b],
                        "sentence": said(d.sentence),
                        "notes": tuple(map(said, d.notes)),
                    }
                )
                for d in summary.differences
            ),
            "multiplicity": said(summary.multiplicity),
            "reference": names.get(summary.reference, ""),
            "warnings": tuple(map(said, summary.warnings)),
            "cannot_show": tuple(map(said, summary.cannot_show)),
            "winner": summary.winner.model_copy(update={"name": names[summary.winner.name]}),
        }
    )
