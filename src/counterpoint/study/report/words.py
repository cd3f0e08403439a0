"""The report's words for numbers, metrics and verdicts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from ...modalities import MODALITIES, PAIR
from ...reasons import counted, listing
from ...statistics.sentences import times
from ..schema import DifferenceSummary, TrainingSummary
from ..words.names import common_origin, short_names, without_origin
from ..words.tables import number as plain

METRICS = {
    "i2t_R@1": "pictures whose own caption comes first among all captions of the test set",
    "t2i_R@1": "captions whose own picture comes first among all pictures of the test set",
    "withheld_accuracy": "examples whose class the model says rightly, the mean over every way to withhold columns",
    "cer": "characters that are wrong, of those that were said",
    "corruption_100way": "examples whose own text is found among 100, averaged over all corruptions at three strengths",
}
"""Descriptions of what the main metrics count."""
_OF_LABELS = (
    (r"logistic_(.+)_top1", "examples put into their {} by logistic regression on the frozen embeddings"),
    (
        r"logistic_(.+)_mAP",
        "average precision of ranking examples for each of the {} by logistic regression on the frozen embeddings",
    ),
    (
        r"ridge_(.+)_mae",
        "distance from an example's {} to what ridge regression on the frozen embeddings says",
    ),
    (
        r"(.+)_\d+way_1shot",
        "examples put into their {} among classes that training has not seen, shown by one example each",
    ),
    (
        r"corruption_(.+)_top1",
        "examples put into their {} by its name alone, averaged over all corruptions",
    ),
    (r"(.+)_top1", "examples put into their {} by its name alone, without training on it"),
)


def meaning(metric: str) -> str:
    """Return what a metric counts, empty where nothing is written about it; labels are named as in the data.

    >>> meaning("animal_top1")
    'examples put into their animal by its name alone, without training on it'
    >>> meaning("question2answer_R@1")
    'question whose counterpart comes first among all answer of the test set'
    """
    if metric in METRICS:
        return METRICS[metric]
    if match := re.fullmatch(r"(.+)2(.+)_R@1", metric):
        nouns = {modality.letter: modality.noun for modality in MODALITIES}
        query, answer = (nouns.get(name, name) for name in match.groups())
        return f"{query} whose counterpart comes first among all {answer} of the test set"
    for pattern, text in _OF_LABELS:
        if match := re.fullmatch(pattern, metric):
            return text.format(match[1].replace("_", " "))
    return ""


DIAGNOSTICS = {
    "alignment": "Mean squared distance between a picture and its caption. Lower: pairs lie closer.",
    "uniformity_image": "How evenly pictures cover the sphere. Lower: more even; 0: all in one point.",
    "uniformity_text": "How evenly captions cover the sphere. Lower: more even; 0: all in one point.",
    "gap_centroid": "Distance between the mean picture and the mean caption: the gap between the modalities.",
    "gap_separability": "How well a line tells pictures from captions. 0.5: mixed; 1: two separate clouds.",
    "effective_rank_image": "How many directions the pictures really use. Near 1: collapsed.",
    "effective_rank_text": "How many directions the captions really use. Near 1: collapsed.",
    "components_99_image": "Principal components that hold 99 % of the variance of the pictures.",
    "components_99_text": "Principal components that hold 99 % of the variance of the captions.",
    "std_image": "Spread of the pictures per dimension. 1: well spread; 0: collapsed.",
    "std_text": "Spread of the captions per dimension. 1: well spread; 0: collapsed.",
    "arithmetic_tone": "Analogies that hold: a picture, minus one skin tone's name, plus another's.",
    "arithmetic_gender": "Analogies that hold: a picture, minus one gender's name, plus another's.",
}
"""Descriptions of what each diagnostic says, in one line."""
_OF_COLUMNS = (
    (r"uniformity_(.+)", "How evenly {} covers the sphere. Lower: more even; 0: all in one point."),
    (r"effective_rank_(.+)", "How many directions {} really uses. Near 1: collapsed."),
    (r"components_99_(.+)", "Principal components that hold 99 % of the variance of {}."),
    (r"std_(.+)", "Spread of {} per dimension. 1: well spread; 0: collapsed."),
    (r"alignment_(.+)", "Mean squared distance between the two of a pair ({}). Lower: pairs lie closer."),
    (r"gap_centroid_(.+)", "Distance between the means of two columns ({}): the gap between them."),
    (
        r"gap_separability_(.+)",
        "How well a line tells two columns ({}) apart. 0.5: mixed; 1: two separate clouds.",
    ),
)


def diagnostic(name: str) -> str:
    """Return what a diagnostic says, empty where nothing is written about it.

    >>> diagnostic("std_series")
    'Spread of series per dimension. 1: well spread; 0: collapsed.'
    """
    if name in DIAGNOSTICS:
        return DIAGNOSTICS[name]
    for pattern, text in _OF_COLUMNS:
        if match := re.fullmatch(pattern, name):
            return text.format(match[1])
    return ""


def number(value: float | None, metric: str = "", signed: bool = False) -> str:
    """Write a metric's value, or a difference of two with its sign.

    >>> number(0.1234, "i2t_R@1"), number(-0.02, "i2t_R@1", signed=True), number(105.0, "i2t_median_rank")
    ('12.3', '−2.0', '105.0')
    >>> number(0.0123, "ridge_size_mae"), number(105.0, "ridge_age_mae")  # in units of the data, of any size
    ('0.0123', '105.0')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return plain(value, metric, signed).replace("-", "−")


def p_value(p: float | None) -> str:
    """Write a p value with as many digits as it deserves.

    >>> p_value(0.0004), p_value(0.0321), p_value(1.0)
    ('< 0.001', '0.032', '1')
    """
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def duration(seconds: float) -> str:
    """Write seconds as a duration, in seconds, minutes or hours.

    >>> duration(14.97), duration(754.0), duration(7300.0)
    ('15 s', '12.6 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(value: float) -> str:
    """Write a large number: with commas, in millions or in billions.

    >>> count(15360), count(2076577)
    ('15,360', '2.08 M')
    """
    return (
        f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:.2f} M" if value < 1e9 else f"{value / 1e9:.2f} G"
    )


def question(arms: list[str], data: str) -> str:
    """Write the page's title; a path is called by its last part, and a folder with a name before it by that name.

    >>> question(["clip", "slip"], "~/photos/pairs.csv")
    'Which is better on pairs.csv: clip or slip?'
    >>> question(["clip"], "stamps:unpacked/here")
    'clip on stamps'
    """
    name, _, folder = data.partition(":")
    data = name if name.isidentifier() and PurePath(folder).name != folder else PurePath(data).name
    if len(arms) == 1:
        return f"{arms[0]} on {data}"
    if len(arms) > 4:
        return f"Which of {len(arms)} methods is best on {data}?"
    return f"Which is {'better' if len(arms) == 2 else 'best'} on {data}: {listing(arms, 'or')}?"


def facts(summary: TrainingSummary) -> list[str]:
    """Return the facts of the study, in a few words each."""
    lines = [
        *([summary.data] if summary.title else []),
        counted(len(summary.arms), "arm"),
        f"{counted(len(summary.seeds), 'seed')} each",
        f"equal {summary.budget}",
        f"{counted(summary.tune, 'tuning trial')} each" if summary.tune else "not tuned",
        " and ".join(towers(summary)),
    ]
    return lines + [str(summary.environment[k]) for k in ("device", "date") if k in summary.environment]


def files_of_losses(summary: TrainingSummary) -> list[str]:
    """Return the full names of the arms that the page calls by a short one, and the model that all go on from.

    Args:
        summary: with the full names.
    """
    names = [arm.name for arm in summary.arms]
    origin = common_origin(names)
    named = {name: without_origin(name) if origin else name for name in names}
    longer = [f"{label}: {name}" for name, label in short_names(names).items() if label != named[name]]
    return [f"all from {origin}"] * bool(origin) + longer


def towers(summary: TrainingSummary) -> list[str]:
    """Return the recipe's towers that examples went through, pictures' and texts' where no pass was counted."""
    passed = {modality for arm in summary.arms for modality, count in arm.cost.passes.items() if count}
    named = summary.recipe["towers"]
    return list(
        dict.fromkeys(str(named[m]) for m in MODALITIES.names() if m in (passed or PAIR) and m in named)
    )


def verdict(difference: DifferenceSummary) -> dict[str, Any]:
    """Describe a verdict by a mark and words: ``kind`` (ahead, equal, open), ``firm``, ``arm`` (ahead), ``text``.

    >>> verdict(DifferenceSummary.model_construct(a="clip", b="slip", verdict="suggestive: worse"))["text"]
    'slip seems better'
    """
    name, firm = difference.kind, difference.firm
    if name in {"better", "worse"}:
        arm = difference.a if name == "better" else difference.b
        return {
            "kind": "ahead",
            "firm": firm,
            "arm": arm,
            "text": f"{arm} {'is' if firm else 'seems'} better",
        }
    if name == "equivalent":
        return {
            "kind": "equal",
            "firm": firm,
            "arm": None,
            "text": "equivalent" if firm else "seem equivalent",
        }
    return {"kind": "open", "firm": True, "arm": None, "text": "no difference shown"}


def needed(differences: Sequence[DifferenceSummary]) -> list[str]:
    """Return what would show a difference of the margin, in words, for every pair: seeds or a larger test set."""
    lines = []
    for d in differences:
        seeds = d.seeds_needed
        pair = f"{d.a} and {d.b}"
        if seeds is None and d.n_seeds > 1:
            lines.append(f"{pair}: unknown, since their runs agree on every example")
        elif seeds is None:
            lines.append(f"{pair}: unknown, since it takes two seeds on which both finished")
        elif seeds.n is None and (seeds.examples_factor or 1.0) > 1:
            lines.append(
                f"{pair}: a test set at least {times(seeds.examples_factor or 1.0)} as large, and more seeds"
            )
        elif seeds.n is None:
            lines.append(f"{pair}: more than any number of seeds on this test set")
        else:
            lines.append(f"{pair}: {'at least' if seeds.at_least else 'about'} {seeds.n:,} seeds")
    return lines
