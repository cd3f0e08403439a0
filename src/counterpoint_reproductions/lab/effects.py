"""Smallest effects of interest: where they come from, and the conventions where a paper gives no figures.

A smallest effect of interest comes from the first of these that is available:

* half of the gain that the paper reports in a comparable metric (`reported`), or, if baselines differ much, half of the
  share of the remaining error that its method removes (`of_the_rest`);
* the effect that the paper's own sample would have shown with power 1/3 (`telescope`);
* the table of conventions (`convention`).

It is declared before the run and never derived from runs here.

>>> from counterpoint_reproductions.lab import above, per_seed
>>> gain = per_seed("gain", "mAP", [0.011, 0.013, 0.012, 0.010, 0.012])
>>> above(gain, **reported(76.9, 78.1, "ViT-B/32, linear probe", unit=0.01)).verdict
'reproduced'
"""

from __future__ import annotations

from typing import Literal, TypedDict

from counterpoint.catalog.evidence import ThresholdOrigin
from counterpoint.catalog.verdicts import Role

Kind = Literal["share", "correlation", "count", "nats"]
CONVENTIONS: dict[Kind, tuple[float, str]] = {
    "share": (0.01, "accuracy, recall, precision, mAP, F1, IoU and error rates"),
    "correlation": (0.05, "correlations and AUROC"),
    "count": (0.1, "counts of steps and seconds, as a share of the baseline's"),
    "nats": (0.02, "nats a word or token"),
}
"""Smallest effects of interest by the kind of metric, with the metrics of that kind; equal to the usual margins."""
POWER_OF_A_THIRD = 1.53
"""Standard errors that a design finds with power 1/3: 1.96 - 0.43 (Simonsohn, 2015)."""


class Effect(TypedDict):
    """A smallest effect of interest with its origin, as `above` and `below` take it."""

    delta: float
    source: ThresholdOrigin


class Margin(TypedDict):
    """A margin with its origin, as `above` and `below` take it."""

    margin: float
    source: ThresholdOrigin


class Level(TypedDict):
    """The role of a level with its origin, as `above` and `below` take it."""

    role: Role
    source: ThresholdOrigin


def reported(baseline: float, method: float, about: str, *, unit: float = 1.0) -> Effect:
    """Return half of the gain that a paper reports.

    Args:
        baseline, method: the paper's two numbers.
        about: the experiment that they are from.
        unit: of the paper's numbers in the unit of the metric here; 0.01 for percent.

    >>> effect = reported(76.9, 78.1, "ViT-B/32, linear probe", unit=0.01)
    >>> round(effect["delta"], 6), effect["source"].text
    (0.006, 'half of 76.9 → 78.1 (ViT-B/32, linear probe)')
    """
    delta = abs(method - baseline) * unit / 2
    text = f"half of {baseline:g} → {method:g} ({about})"
    return {"delta": round(delta, 12), "source": ThresholdOrigin(kind="paper", text=text)}


def of_the_rest(baseline: float, method: float, about: str, *, perfect: float = 1.0) -> Effect:
    """Return half of the share of the remaining error that a paper's method removes.

    For a score that is itself a share of the baseline's remaining error.

    >>> of_the_rest(60.0, 70.0, "accuracy", perfect=100)["delta"]
    0.125
    """
    delta = abs(method - baseline) / abs(perfect - baseline) / 2
    text = f"half of the remaining error that {baseline:g} → {method:g} of {perfect:g} removes ({about})"
    return {"delta": round(delta, 12), "source": ThresholdOrigin(kind="paper", text=text)}


def telescope(standard_error: float, about: str) -> Effect:
    """Return the effect that a paper's design would have found with power 1/3.

    Args:
        standard_error: of the paper's estimate, from its sample size.
        about: the sample and how the standard error follows from it.

    >>> telescope(0.02, "two proportions near 0.5, 1,250 each")["delta"]
    0.0306
    """
    return {
        "delta": round(POWER_OF_A_THIRD * standard_error, 12),
        "source": ThresholdOrigin(
            kind="telescope", text=f"1.53 standard errors of {standard_error:g}: {about}"
        ),
    }


def convention(kind: Kind, *, of: float = 1.0, reason: str = "") -> Effect:
    """Return the conventional smallest effect of a kind of metric.

    Args:
        kind: of metric, a key of ``CONVENTIONS``.
        of: what a relative convention is a share of, in the unit of the metric; 1 for a score that is a ratio.
        reason: why a figure that the paper reports is not used.

    >>> convention("share")["delta"], convention("count", of=180)["delta"]
    (0.01, 18.0)
    """
    share, metrics = CONVENTIONS[kind]
    of_what = "" if of == 1.0 else f" of {of:g}"
    text = f"the convention {share:g}{of_what} for {metrics}{'; ' * bool(reason)}{reason}"
    return {"delta": round(share * of, 12), "source": ThresholdOrigin(kind="convention", text=text)}


def tolerance(kind: Kind, *, of: float = 1.0) -> Margin:
    """Return the conventional margin of a kind of metric, for claims that something is no worse.

    >>> tolerance("correlation")["margin"]
    0.05
    """
    effect = convention(kind, of=of)
    return {"margin": effect["delta"], "source": effect["source"]}


def level(text: str, kind: Literal["paper", "telescope", "convention"] = "paper") -> Level:
    """Return the role of a value that is to reach a level, which is the bound, with the origin of the level.

    >>> level("0.6 in table 2")["role"]
    'level'
    """
    return {"role": "level", "source": ThresholdOrigin(kind=kind, text=text)}
