"""From the units of a study of decoding to its ``summary.json``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from ...decoding.method import Decoding, SumOfMethods
from ...decoding.rule import PlausibilityOnly
from ...files import DamagedFileError, read_json
from ...training.record.environment import Environment
from ..results import StudyResults, damage
from ..schema import (
    AskedArm,
    DecodingCost,
    DecodingSummary,
    DifferenceSummary,
    Key,
    MetricSummary,
    Winner,
    Worth,
)
from ..scored import RunScores
from ..words.tables import ranked
from .arm import PLAIN, DecodingArm
from .conclusions import conclude
from .design import DecodingDesign
from .transcript import Transcript
from .units import DecodingUnit, data_of, read_unit, units


@final
@dataclass(frozen=True)
class AskedRun:
    """One arm under one seed, all of whose tasks have been asked.

    Attributes:
        scored: what it was scored with; None where a file of it cannot be read.
        transcripts: of its tasks; none where a file of it cannot be read.
        reason: what cannot be read; empty where all can.
    """

    scored: RunScores | None
    transcripts: tuple[Transcript, ...] = ()
    reason: str = ""


def read_results(design: DecodingDesign, folder: Path) -> StudyResults[AskedRun]:
    """Return the runs of a study that came to their end.

    Raises:
        ValueError: if there are none of plain sampling, which every method is held against.
    """
    of_run: dict[tuple[str, int], list[DecodingUnit]] = {}
    for unit in units(design, folder):
        of_run.setdefault((unit.arm, unit.seed), []).append(unit)

    def read(arm: str, seed: int) -> AskedRun | None:
        tasks = of_run[arm, seed]
        if not all(unit.finished for unit in tasks):
            return None
        try:
            transcripts = tuple(read_unit(unit) for unit in tasks)
        except DamagedFileError as error:
            return AskedRun(None, reason=damage(error, tasks[0].folder.parent))
        return AskedRun(RunScores(*(unit.folder for unit in tasks)), transcripts)

    results = StudyResults(folder, tuple(design.roles), design.seeds, read, design.margin)
    if PLAIN not in results.runs:
        raise ValueError(
            f"{folder} has no finished run of plain sampling, which every method is held against: "
            "run the study's compare-decoding command again to finish some"
        )
    return results


def summarise(results: StudyResults[AskedRun], design: DecodingDesign) -> DecodingSummary:
    """Compute the content of ``summary.json``.

    Raises:
        ValueError: for a study whose tasks have nothing to judge by.
        OtherRunError: for units that were not made of the same.
        RuntimeError: if no run can be read.
    """
    results.check()
    keys, headline = results.main_metrics(design.tasks), results.headline(design.tasks)
    pairs = [pair for pair in design.pairs if set(pair) <= set(results.runs)]
    differences, multiplicity = results.numbers.differences(keys, pairs) if pairs else ([], "")
    arms = _arms(results, design)
    conclusions = _conclusions(design, differences)
    again = "delete it and run the study's compare-decoding command again, which writes it anew"
    return DecodingSummary(
        title=design.title,
        data=design.data,
        model=design.model,
        tasks=design.tasks,
        seeds=results.seeds,
        limit=design.limit,
        sampling=design.sampling,
        image_size=design.image_size,
        margin=design.margin,
        weights=design.weights,
        environment=read_json(results.folder / "environment.json", Environment, again).model_dump(),
        attribution=data_of(design).attribution,
        primary=MetricSummary.of(headline),
        arms=arms,
        differences=tuple(differences),
        conclusions=tuple(conclusions),
        multiplicity=multiplicity,
        warnings=tuple(results.warnings()),
        winner=_winner(design, arms, [c for c in conclusions if c.key == headline], headline),
        cannot_show=tuple(_cannot_show(design, results, arms)),
    )


def _arms(results: StudyResults[AskedRun], design: DecodingDesign) -> tuple[AskedArm, ...]:
    """Return every arm with its costs; the arm's time is a multiple of plain sampling's."""
    costs = {
        arm: _cost([t for run in results.finished(arm) for t in run.transcripts]) for arm in results.runs
    }
    plain = costs[PLAIN].seconds_per_prompt
    arms = []
    for name, cost in costs.items():
        arm, seconds = DecodingArm.parse(name), cost.seconds_per_prompt
        relative = seconds / plain if seconds and plain else None
        arms.append(
            AskedArm(
                name=name,
                slug=arm.slug,
                role=design.roles[name],
                rule=design.rules.get(name),
                python=_bound(arm.method()),
                failed=tuple(results.failed(name)),
                unfinished=tuple(results.unfinished.get(name, ())),
                cost=cost.model_copy(update={"relative_seconds": relative}),
                metrics=tuple(results.numbers.metrics(name)),
            )
        )
    return tuple(arms)


def _cost(transcripts: Sequence[Transcript]) -> DecodingCost:
    passes: Counter[str] = Counter()
    positions: Counter[str] = Counter()
    for transcript in transcripts:
        passes.update(transcript.passes)
        positions.update(transcript.positions)
    prompts = sum(transcript.asked for transcript in transcripts)
    seconds = sum(transcript.seconds for transcript in transcripts)
    plain_passes, plain_positions = passes["own"], positions["own"]
    return DecodingCost(
        seconds=seconds,
        prompts=prompts,
        seconds_per_prompt=seconds / prompts if prompts else None,
        passes=dict(passes),
        positions=dict(positions),
        relative_passes=passes.total() / plain_passes if plain_passes else None,
        relative_positions=positions.total() / plain_positions if plain_positions else None,
    )


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


def _conclusions(design: DecodingDesign, differences: Sequence[DifferenceSummary]) -> list[Worth]:
    """Return a conclusion for each method and main metric."""
    by_pair = {(d.a, d.b, d.key): d for d in differences}
    keys = dict.fromkeys(d.key for d in differences if d.family == "main")
    conclusions = []
    for arm in design.arms:
        for key in keys if arm != PLAIN else ():
            rule = design.rules[arm]
            if any((arm, other, key) not in by_pair for other in (PLAIN, rule) if other is not None):
                continue  # unfinished, or its rule alone is
            against_rule = None if rule is None else by_pair[arm, rule, key]
            conclusion = conclude(arm, by_pair[arm, PLAIN, key], against_rule)
            conclusions.append(Worth(arm=arm, **MetricSummary.of(key).model_dump(), **asdict(conclusion)))
    return conclusions


def _winner(
    design: DecodingDesign, arms: Sequence[AskedArm], conclusions: Sequence[Worth], primary: Key
) -> Winner:
    """Return the best of the methods that are better than plain sampling on the first metric, or plain sampling.

    Args:
        design: the study.
        arms: its arms.
        conclusions: those on the first metric.
        primary: the first metric.
    """
    better: set[str | None] = {c.arm for c in conclusions if c.kind in {"contrast", "unsettled"}}
    # Where a method is better than plain sampling and not than its own rule, the rule is what to use.
    rules = {design.rules[c.arm] for c in conclusions if c.kind == "rule"}
    chosen = next((arm for arm in ranked(arms, primary) if arm.name in better | rules), None)
    chosen = chosen or next(arm for arm in arms if arm.name == PLAIN)
    temperature = design.temperature
    sampling = [] if temperature == 0 else ["--sample", "--temperature", f"{temperature:g}"]
    words = ["counterpoint", "generate", "--model", design.model, "--image", "FILE", "--prompt", "TEXT"]
    return Winner(
        name=chosen.name,
        command=shlex.join([*words, "--decoding", chosen.name, *sampling]),
        python=f"model.generate(**inputs, custom_generate={chosen.python})",
    )


def _cannot_show(
    design: DecodingDesign, results: StudyResults[AskedRun], arms: Sequence[AskedArm]
) -> list[str]:
    temperature = design.temperature
    how = "greedily" if temperature == 0 else f"by sampling at temperature {temperature:g}"
    lines = [
        f"It is about one model ({design.model}) on {design.data!r}, decoded {how}. Another model, other pictures or "
        "another way of sampling can order the methods differently.",
        "Methods ran with the options that stand in their names and their own defaults for the rest. None was "
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
    lines += results.of_few_seeds()
    if temperature == 0:
        lines.append(
            "Greedy search takes the likeliest token, which every plausibility rule keeps, so the rule alone is plain "
            "decoding and is not run. Seeds then vary only what a method draws by chance, such as noise."
        )
    if any(arm.cost.relative_passes is None for arm in arms):
        lines.append("The assistant does not count its forward passes, so that only seconds are known.")
    return lines
