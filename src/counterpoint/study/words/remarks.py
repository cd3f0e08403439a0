"""Lines to read before the first step: what follows from the data, and what may not be what was meant."""

from __future__ import annotations

from collections.abc import Mapping

from ...methods.arm import Arm
from ...reasons import share_in_words
from ...recipes import Recipe
from ..design import ArmCost, ArmPlan, Design
from ..opened import open_data


def remarks(design: Design, plans: Mapping[str, ArmPlan]) -> list[str]:
    """Return what to know of the arms before the first step: length, cut captions, random starts, sizes of pictures."""
    costs = {arm: plan.cost for arm, plan in plans.items() if plan.cost is not None}
    if not costs:
        return []
    longest = max(costs, key=lambda arm: plans[arm].steps)
    data = open_data(design)
    return [
        *length_in_words(
            design.recipe, len(data.splits.train), costs[longest].batch_size, plans[longest].steps
        ),
        *gaps_in_words({arm: (cost.rows, cost.left_out) for arm, cost in costs.items()}),
        *cut_in_words({arm: cost.cut_captions for arm, cost in costs.items()}),
        *random_starts(design.recipe, {arm: cost.parameters for arm, cost in costs.items()}, data.columns),
        *_image_sizes(costs),
    ]


def length_in_words(recipe: Recipe, rows: int, batch_size: int, steps: int) -> list[str]:
    """Return a line on steps that follow the data, where they are not the recipe's epochs.

    Args:
        recipe: as it was given.
        rows: examples to train on.
        batch_size: examples of a step.
        steps: of the run.
    """
    of_all = round(recipe.epochs * (rows // batch_size))
    if recipe.steps is not None or steps == of_all:
        return []
    made = f"{steps:,} steps are {steps * batch_size / rows:.1f} epochs of {rows:,} examples, not {recipe.epochs:g}"
    if steps > of_all:
        return [f"{made}: the fewest that follow from the data; --steps {max(of_all, 1)} makes fewer"]
    most = "" if recipe.most_passes is None else f"most_passes={recipe.most_passes:,} "
    return [f"{made}: a run makes at most {most}passes through a tower; --steps {of_all} trains them all"]


def gaps_in_words(rows: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return a line for each number of rows that some arms train on, where some leave rows out.

    Args:
        rows: an arm's name to the rows that it trains on, and those that it leaves out.

    >>> gaps_in_words({"clip": (2400, 1600), "more": (4000, 0)})
    ['clip: trained on 2,400 of 4,000 rows, as the others lack what it reads', 'more: trained on 4,000 rows']
    """
    arms: dict[tuple[int, int], list[str]] = {}
    for arm, of_arm in rows.items():
        arms.setdefault(of_arm, []).append(arm)
    if not any(left_out for _, left_out in arms):
        return []
    why = ", as the others lack what it reads"
    return [
        f"{', '.join(names)}: trained on {share_in_words(*of_arm)} rows{why if of_arm[1] else ''}"
        for of_arm, names in arms.items()
    ]


def cut_in_words(shares: Mapping[str, float]) -> list[str]:
    """Return a line for each share of captions that some arms' contexts cut; half a percent goes without a word."""
    arms: dict[float, list[str]] = {}
    for arm, share in shares.items():
        if share >= 0.005:
            arms.setdefault(share, []).append(arm)
    return [
        f"{', '.join(names)}: {100 * share:.0f} % of the training captions have more tokens than the text tower's "
        "context and lose their end; --towers.context makes the context longer"
        for share, names in arms.items()
    ]


def random_starts(recipe: Recipe, parameters: Mapping[str, int], columns: Mapping[str, str]) -> list[str]:
    """Return a line for each tower of another library that was named without weights.

    Args:
        recipe: of all arms.
        parameters: how many each arm has.
        columns: of the data, each with its modality.
    """
    arms: dict[str, list[str]] = {}
    for arm in parameters:
        parsed = Arm.parse(arm)
        towers = {**recipe.towers.names, **parsed.towers}
        for name in dict.fromkeys(towers.get(modality, "") for modality in parsed.reads(columns).values()):
            if ":" in name and "@" not in name:
                arms.setdefault(name, []).append(arm)
    return [
        f"{', '.join(names)}: random start of {tower} ({parameters[names[0]] / 1e6:,.1f} M parameters to train), as no "
        f"weights are named; {tower}@FILE starts from those of a file"
        for tower, names in arms.items()
    ]


def _image_sizes(costs: Mapping[str, ArmCost]) -> list[str]:
    """Return a line on the sizes of the arms' pictures, where these differ."""
    arms: dict[int, list[str]] = {}
    for arm, cost in costs.items():
        if "image" in cost.passes:
            arms.setdefault(cost.image_size, []).append(arm)
    if len(arms) < 2:
        return []
    sizes = "; ".join(f"{size} × {size} pixels: {', '.join(names)}" for size, names in sorted(arms.items()))
    return [
        f"arms see the same pictures at different sizes, as a pretrained tower keeps that of its weights ({sizes})"
    ]
