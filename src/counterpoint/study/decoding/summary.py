"""From the units of a study of decoding to its ``summary.json``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...decoding.method import Decoding, SumOfMethods
from ...decoding.rule import PlausibilityOnly
from ...evaluation.answering import create
from ...reasons import counted
from ...training.run import Environment
from ..numbers import PARTS, RunScores, StudyScores, finite
from ..tables import ranked
from .arm import PLAIN, DecodingArm
from .conclusions import conclude
from .design import DecodingDesign
from .transcript import Transcript
from .units import run_folder, units

_FEW_SEEDS = 5


def summarise(folder: Path, design: DecodingDesign, attribution: str = "") -> dict[str, Any]:
    """The content of ``summary.json``.

    Raises:
        ValueError: for a study that is not finished, or whose tasks have nothing to judge by.
    """
    left = [unit for unit in units(design, folder) if not unit.finished]
    if left:
        raise ValueError(
            f"{left[0].folder} is not finished: run the study's compare-decoding command again to finish it"
        )
    runs = {
        arm: {
            seed: RunScores(*(run_folder(folder, arm, seed) / task for task in design.tasks))
            for seed in design.seeds
        }
        for arm in design.roles
    }
    numbers = StudyScores(runs, design.margin)
    keys = numbers.main({task: create(task).primary for task in design.tasks})
    if not keys:
        raise ValueError(f"tasks {', '.join(design.tasks)} gave no number that all arms have")
    differences, multiplicity = numbers.differences(keys, design.pairs)
    arms = [_arm(folder, design, arm, numbers) for arm in design.roles]
    _relate(arms)
    found: dict[str, Any] = {
        **design.plain(),
        "environment": Environment.read(folder).model_dump(),
        "attribution": attribution,
        "primary": dict(zip(PARTS, keys[0], strict=True)),
        "arms": arms,
        "differences": differences,
        "conclusions": _conclusions(design, differences),
        "multiplicity": multiplicity,
        "warnings": [],
    }
    found["winner"] = _winner(design, found)
    found["cannot_show"] = _cannot_show(design, found)
    return finite(found)


def _arm(folder: Path, design: DecodingDesign, name: str, numbers: StudyScores) -> dict[str, Any]:
    arm = DecodingArm.parse(name)
    passes: Counter[str] = Counter()
    positions: Counter[str] = Counter()
    asked, seconds = 0, 0.0
    for seed in design.seeds:
        for task in design.tasks:
            transcript = Transcript.read(run_folder(folder, name, seed) / task)
            passes.update(transcript.passes)
            positions.update(transcript.positions)
            asked, seconds = asked + transcript.asked, seconds + transcript.seconds
    own, through = passes["own"], positions["own"]
    return {
        "name": name,
        "slug": arm.slug,
        "role": design.roles[name],
        "rule": design.rules.get(name),
        "python": _bound(arm.method()),
        "failed": [],
        "cost": {
            "seconds": seconds,
            "prompts": asked,
            "seconds_per_prompt": seconds / asked if asked else None,
            "passes": dict(passes),
            "positions": dict(positions),
            "relative_passes": passes.total() / own if own else None,
            "relative_positions": positions.total() / through if through else None,
        },
        "metrics": numbers.metrics(name),
    }


def _bound(method: Decoding) -> str:
    """Return the code to write for ``custom_generate``; … stands for what only the user can make."""
    needed = dict.fromkeys(branch.needs for branch in method.branches() if branch.needs is not None)
    return f"{_written(method)}.on(inputs{''.join(f', {need}=…' for need in needed)})"


def _written(method: Decoding) -> str:
    if isinstance(method, PlausibilityOnly):
        return f"plausibility_only({_written(method.method)})"
    if isinstance(method, SumOfMethods):
        return f"({' + '.join(map(_written, method.methods))})"
    return repr(method)


def _relate(arms: list[dict[str, Any]]) -> None:
    """Give every arm its time in times of plain sampling's."""
    plain = next(arm["cost"]["seconds_per_prompt"] for arm in arms if arm["name"] == PLAIN)
    for arm in arms:
        own = arm["cost"]["seconds_per_prompt"]
        arm["cost"]["relative_seconds"] = own / plain if own and plain else None


def _conclusions(design: DecodingDesign, differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conclusion for each method and main metric."""
    by_pair = {(d["a"], d["b"], *(d[part] for part in PARTS)): d for d in differences}
    keys = dict.fromkeys(tuple(d[part] for part in PARTS) for d in differences if d["family"] == "main")
    found = []
    for arm in design.arms:
        for key in keys if arm != PLAIN else ():
            rule = design.rules[arm]
            against_rule = None if rule is None else by_pair[arm, rule, *key]
            conclusion = conclude(arm, by_pair[arm, PLAIN, *key], against_rule)
            found.append({"arm": arm, **dict(zip(PARTS, key, strict=True)), **asdict(conclusion)})
    return found


def _winner(design: DecodingDesign, found: Mapping[str, Any]) -> dict[str, Any]:
    """The best mean among the methods that are better than plain sampling on the first metric, or plain sampling."""
    better = {
        c["arm"]
        for c in found["conclusions"]
        if c["kind"] in {"contrast", "unsettled"} and all(c[k] == v for k, v in found["primary"].items())
    }
    # Where a method is better than plain sampling and not than its own rule, the rule is what to use.
    rules = {
        design.rules[c["arm"]]
        for c in found["conclusions"]
        if c["kind"] == "rule" and all(c[k] == v for k, v in found["primary"].items())
    }
    chosen = next((arm for arm in ranked(found) if arm["name"] in better | rules), None)
    chosen = chosen or next(arm for arm in found["arms"] if arm["name"] == PLAIN)
    name = chosen["name"]
    temperature = design.temperature
    sampling = [] if temperature == 0 else ["--sample", "--temperature", f"{temperature:g}"]
    words = ["counterpoint", "generate", "--model", design.model, "--image", "FILE", "--prompt", "TEXT"]
    return {
        "name": name,
        "command": shlex.join([*words, "--decoding", name, *sampling]),
        "python": f"model.generate(**inputs, custom_generate={chosen['python']})",
    }


def _cannot_show(design: DecodingDesign, found: Mapping[str, Any]) -> list[str]:
    temperature = design.temperature
    how = "greedily" if temperature == 0 else f"by sampling at temperature {temperature:g}"
    lines = [
        f"It is about one model ({design.model}) on {design.data!r}, decoded {how}. Another model, other pictures or "
        "another way of sampling can order the methods differently.",
        "Methods ran with the options that stand in their names and their papers' defaults for the rest. None was "
        "tuned to this model or data; arms with other options (vcd,alpha=0.5) can be added to the same folder.",
        "Tasks score replies by rules (a yes or a no, names of things). What a person would find better or worse in a "
        "reply beyond that is not measured.",
        "Forward passes are counted; seconds are those of this machine with all arms one after another, and say less.",
    ]
    if temperature != 0 and any(
        name == "ritual" for arm in design.arms for name, _ in DecodingArm.parse(arm).parts
    ):
        lines.append(
            "The weights of ritual sum to more than 1, so that it also samples more sharply; how much of its effect "
            "that is can be seen from a study at a lower temperature."
        )
    if len(design.seeds) < _FEW_SEEDS:
        lines.append(
            f"{counted(len(design.seeds), 'seed')}: every verdict is suggestive. Add seeds with "
            f"--seeds {_FEW_SEEDS} and the same folder; what is finished is not repeated."
        )
    if temperature == 0:
        lines.append(
            "Greedy search takes the likeliest token, which every plausibility rule keeps, so the rule alone is plain "
            "decoding and is not run. Seeds then vary only what a method draws by chance, such as noise."
        )
    if any(arm["cost"]["relative_passes"] is None for arm in found["arms"]):
        lines.append("The assistant does not count its forward passes, so that only seconds are known.")
    return lines
