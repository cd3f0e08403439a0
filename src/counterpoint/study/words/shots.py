"""Arms of a study by the rows of each class that they are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...spec import Spec
from ..schema import DifferenceSummary, StudySummary
from .tables import ranked

BASELINES = ("zero-shot", "linear-text", "linear")
"""Methods that every other one is held against first, where few labels are learned from."""


def shots_of(arm: str) -> int | None:
    """Return the rows of each class that an arm states; None for one that states none.

    >>> shots_of("coop,shots=4"), shots_of("coop")
    (4, None)
    """
    stated = Spec.parse(arm).options.get("shots")
    return None if stated is None else int(stated)


def by_shots(arms: Iterable[str]) -> dict[int | None, list[str]]:
    """Return arms by their shots: those that are compared with each other.

    >>> by_shots(["coop,shots=4", "linear,shots=4", "coop,shots=1"])
    {4: ['coop,shots=4', 'linear,shots=4'], 1: ['coop,shots=1']}
    """
    groups: dict[int | None, list[str]] = {}
    for arm in arms:
        groups.setdefault(shots_of(arm), []).append(arm)
    return groups


def without_shots(arm: str) -> str:
    """Return an arm without its shots.

    >>> without_shots("coop,shots=4,words=none")
    'coop,words=none'
    """
    spec = Spec.parse(arm)
    return str(Spec(spec.name, {name: it for name, it in spec.options.items() if name != "shots"}))


def beside_baselines(summary: StudySummary) -> list[DifferenceSummary]:
    """Return how the best arm at each number of shots differs from each of `BASELINES`, on the primary metric.

    Of a baseline that is the best arm itself, the differences from the others are given.
    """
    key = summary.primary.key
    first: list[DifferenceSummary] = []
    for arms in by_shots(arm.name for arm in summary.arms).values():
        best = next((arm.name for arm in ranked(summary.arms, key) if arm.name in arms), None)
        for baseline in BASELINES:
            first += [
                d
                for d in summary.differences
                if d.key == key and best in (d.a, d.b) and _other(d, best) in _of_method(arms, baseline)
            ]
    return first


def _other(d: DifferenceSummary, arm: str) -> str:
    return d.b if d.a == arm else d.a


def _of_method(arms: Sequence[str], method: str) -> list[str]:
    return [arm for arm in arms if Spec.parse(arm).name == method]
