"""The run that an arm goes on from (``clip,from=RUN``), and what it lends: sizes and towers, heads, learned numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..modalities import MODALITIES
from ..networks.base import Towers
from ..networks.state.momentum import MomentumCopy
from ..networks.towers.trained import CheckpointWeights
from ..networks.weights import TowerSource, joined_names
from ..pairwise import Temperature
from ..reasons import listing
from .tower_method import TowerMethod, distinct

if TYPE_CHECKING:
    from ..recipes.schema import Recipe

_HEAD = re.compile(r"(?P<heads>(?:.*[._])?projections)\.(?P<tower>[^.]+)\.(?P<rest>.+)")
"""The name of a tensor of a head: of which heads, of which tower, and in it."""


def lend_recipe(recipe: Recipe, before: Recipe, modalities: Collection[str], origin: str) -> Recipe:
    """Return a recipe with the towers of an earlier run, their sizes, and the width of its space.

    A built-in tower bears the place of its weights in its name; those of libraries keep the names that they had.

    Args:
        recipe: of the arm that goes on.
        before: the earlier run's, with the names of towers that its arm had.
        modalities: of the columns that the earlier run read.
        origin: its folder, as the arm names it.
    """
    names = {name: it for name, it in before.towers.names.items() if name in modalities}
    changes: dict[str, Any] = {}
    for modality in names:
        changes |= before.towers.sizes(modality)
    for modality, source in {name: TowerSource.parse(it) for name, it in names.items()}.items():
        # Drawn texts have no weights of their own. Joined towers name several, whose weights the run lends as one.
        joined = len(joined_names(names[modality], MODALITIES.get(modality).tower_names)) > 1
        borrowed = not source.library and source.name != "pixels" and not joined
        changes[modality] = f"{source.name}@{origin}" if borrowed else names[modality]
    widths = recipe.widths.model_copy(update={"embedding": before.widths.embedding})
    towers = recipe.towers.model_copy(update=changes)
    return recipe.model_copy(update={"towers": towers, "widths": widths})


def lend_towers(
    weights: CheckpointWeights, towers: Towers, own: Collection[str], named: str
) -> dict[str, str]:
    """Read the weights of a run's towers into those of an arm, and return whose each is: a column to the run's column.

    Args:
        weights: of the run.
        towers: by column.
        own: modalities of which the arm names another tower.
        named: the arm, for errors.

    Raises:
        ValueError: where the run has no tower for any of them, or one that is built otherwise.
    """
    theirs, lent = weights.towers(), dict[str, str]()
    for column, tower in distinct(towers).items():
        if tower.modality in own:
            continue
        if (found := weights.of_tower(tower)) is not None:
            lent[column], tensors = found
            tower.load_state_dict(dict(tensors))
            tower.weights_set = True
        elif column in theirs:
            raise ValueError(
                f"{named}: the tower of {column!r} is built otherwise in the run that it goes on from; name the run of "
                "whole weights (not of low-rank updates), under the recipe's towers as they were"
            )
    if not lent:
        raise ValueError(
            f"{named}: the run that it goes on from has towers of {listing(list(theirs)) or 'no column'}, and none of "
            "these is one that the arm needs"
        )
    return lent


def lend_heads(
    weights: CheckpointWeights, method: TowerMethod, lent: Mapping[str, str], stated: Collection[str]
) -> set[str]:
    """Read the run's heads behind lent towers, and its learned numbers of the same names, into a method at its start.

    Returns what was read: the names of heads, of modules and of numbers.

    A method may name further modules (`TowerMethod.continues`), which are read like heads. A module of another form or
    size stays as it starts, and so does all else: classes, queues, predictors; also a
    temperature that is not learned as the logarithm of its scale, as nearly all are.

    Args:
        weights: of the run.
        method: at its start.
        lent: whose each lent tower is, see `lend_towers`.
        stated: options that the arm states, which outweigh what the run has learned.
    """
    # What is read whole or not at all: a part of the method, with what each of its tensors is called in the run.
    parts: dict[str, dict[str, str]] = {}
    for name in method.state_dict():
        if (match := _HEAD.fullmatch(name)) and match["tower"] in lent:
            theirs = f"{match['heads']}.{lent[match['tower']]}.{match['rest']}"
            parts.setdefault(f"{match['heads']}.{match['tower']}", {})[name] = theirs
        elif (module := name.partition(".")[0]) in method.continues:
            parts.setdefault(module, {})[name] = name
    temperatures = [part for part in method.modules() if isinstance(part, Temperature)]
    others = [part.parameter for part in temperatures if part.form != "log"]
    for name, parameter in method.named_parameters():
        if parameter.ndim or any(parameter is other for other in others):
            continue
        words = name.split(".")
        # ``local_temperature`` is said of ``objective.local.temperature``, ``temperature`` of every temperature.
        if not any(option in words or set(option.split("_")) <= set(words) for option in stated):
            parts[name] = {name: name}
    state = method.state_dict()
    read: set[str] = set()
    for part_name, names in parts.items():
        tensors = {name: weights.tensors[it] for name, it in names.items() if it in weights.tensors}
        if len(tensors) == len(names) and all(t.shape == state[name].shape for name, t in tensors.items()):
            method.load_state_dict(tensors, strict=False)
            read.add(part_name)
    for part in method.modules():
        if isinstance(part, MomentumCopy):
            part.restart()
    return read
