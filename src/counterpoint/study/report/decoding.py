"""The page of a study of decoding."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from ...reasons import counted, listing
from ..schema import DecodingSummary, Worth
from ..words.tables import columns, ranked
from . import charts
from .frame import write_page
from .page import FEW, of_any_study

_KINDS: charts.Kinds = (
    (
        lambda cost: cost.relative_passes,
        "forward passes per token, in times of plain decoding",
        "{:.2f} ×".format,
    ),
    (
        lambda cost: cost.relative_positions,
        "decoder positions per token, in times of plain decoding",
        "{:.2f} ×".format,
    ),
    (lambda cost: cost.seconds_per_prompt or 0.0, "time per reply on this machine", "{:.2g} s".format),
)


def write_report(folder: Path, summary: DecodingSummary) -> Path:
    """Write a study's ``report.html``: one file without scripts that needs no network."""
    return write_page(folder / "report.html", "decoding.html.j2", **content(folder, summary))


def content(folder: Path, summary: DecodingSummary) -> dict[str, Any]:
    """Collect everything the template shows."""
    from ..decoding.design import DecodingDesign
    from ..decoding.examples import gallery

    design = DecodingDesign.read(folder)
    assert design is not None
    order = ranked(summary.arms, summary.primary.key)
    keys = columns(summary)
    primary = summary.primary.key
    main = [d for d in summary.differences if d.family == "main"]
    methods = [arm.name for arm in summary.arms if arm.role == "method"]
    conclusions = {(c.arm, c.key): c for c in summary.conclusions}
    cannot_cost = any(arm.cost.relative_passes is None for arm in summary.arms)
    kinds = _KINDS[2:] if cannot_cost else _KINDS
    sampling = summary.sampling
    temperature = sampling["temperature"]
    return of_any_study(summary) | {
        "title": summary.title or f"Does {listing(methods, 'or')} help {Path(summary.model).name}?",
        "facts": [
            summary.data,
            f"at most {counted(summary.limit, 'row')} of each test set",
            f"{counted(len(summary.seeds), 'seed')} each",
            "greedy" if temperature == 0 else f"sampled at temperature {temperature:g}",
            f"at most {counted(int(sampling['max_new_tokens']), 'token')} a reply",
            *(str(summary.environment[k]) for k in ("device", "date") if k in summary.environment),
        ],
        "answers": [
            {"verdict": chip(conclusions[arm, primary]), "sentence": f"{conclusions[arm, primary].text}."}
            for arm in methods
            if (arm, primary) in conclusions
        ],
        "sentences": [d.sentence for d in main if d.key == primary],
        "worth": [
            (arm, [chip(conclusions[arm, key]) if (arm, key) in conclusions else None for key in keys])
            for arm in methods
        ],
        "keys": keys,
        "page_costs": charts.costs(order, kinds),
        "gallery": gallery(folder, design),
        "few": FEW,
        "settings": yaml.safe_dump(design.plain(), sort_keys=False),
        "commands": commands(folder, summary),
    }


_WORTH = {
    "contrast": "helps",
    "rule": "its rule alone helps",
    "unsettled": "helps, by what is open",
    "worse": "hurts",
    "equal": "no difference that matters",
    "open": "nothing shown",
}


def chip(conclusion: Worth) -> dict[str, Any]:
    """Describe a conclusion by a mark and a few words."""
    kind, firm = conclusion.kind, conclusion.firm
    ahead = {"contrast": conclusion.arm, "unsettled": conclusion.arm}
    text = _WORTH[kind] if firm else f"perhaps: {_WORTH[kind]}"
    look = "ahead" if kind in ahead else "equal" if kind in {"equal", "rule"} else "open"
    return {"kind": look, "firm": firm, "arm": ahead.get(kind), "text": text}


def commands(folder: Path, summary: DecodingSummary) -> dict[str, str]:
    """Return the commands that make the study, and its report page, again."""
    sampling = summary.sampling
    methods = [arm.name for arm in summary.arms if arm.role == "method"]
    again = ["counterpoint", "compare-decoding", *methods, "--model", summary.model]
    again += ["--data", summary.data, "--tasks", *summary.tasks]
    again += ["--seeds", str(max(summary.seeds) + 1), "--limit", str(summary.limit)]
    again += ["--temperature", f"{sampling['temperature']:g}"]
    again += ["--max-new-tokens", str(sampling["max_new_tokens"]), "--margin", f"{summary.margin:g}"]
    again += ["--title", summary.title] if summary.title else []
    return {
        "compare": shlex.join(again),
        "report": shlex.join(["counterpoint", "report", str(folder)]),
        "note": "",
    }
