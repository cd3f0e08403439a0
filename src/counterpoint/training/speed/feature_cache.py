"""Kept features: frozen towers answer from memory, and what they have seen is not drawn again."""

from __future__ import annotations

from dataclasses import replace

from ...data.loading.features import DeterministicView, Memory, let_remember
from ...data.views.transforms import transforms
from ...methods.frozen import Teacher, TeacherTower
from ...methods.tower_method import TowerMethod
from ...modalities import MODALITIES, noun_of
from ...networks import MomentumCopy
from ...networks.base import Tower
from ...recipes import Recipe

PLAIN = "plain"
"""The view of every modality that shows an example as it is."""


def remember(method: TowerMethod, recipe: Recipe, rows: int = 0) -> dict[str, DeterministicView]:
    """Let frozen towers and teachers answer from memory; return the views that need not be drawn again, by name.

    Args:
        method: whose towers.
        recipe: of the run.
        rows: examples that are trained on, by which the size of what is kept is told.

    Raises:
        ValueError: if no tower is frozen and the method has no teacher, if either is shown views that are never twice
            the same, or if other processes prepare batches.
    """
    frozen = {
        name: tower
        for name, tower in method.towers.items()
        if isinstance(tower, Tower) and tower.frozen and not tower.read
    }
    teachers = [tower for part in vars(method).values() if isinstance(part, Teacher) for tower in part.towers]
    if not frozen and not teachers:
        raise ValueError("towers.keep: no tower is frozen; add tune=frozen to the arm, or leave keep out")
    if recipe.workers:
        raise ValueError(
            f"towers.keep: with workers={recipe.workers} other processes would draw what is kept here; set workers to 0"
        )
    shown = {
        name: view
        for name, view in method.views.items()
        if method.columns[view.column] in frozen or (teachers and view.modality == TeacherTower.modality)
    }
    plain = {name: replace(view, augmentation=PLAIN, like="") for name, view in shown.items()}
    as_it_is = transforms(plain, recipe.augmentation)
    for name, look in transforms(shown, recipe.augmentation).items():
        # By what a look does and not by its name: recipes may give a name another content.
        if look != as_it_is[name]:
            view = shown[name]
            plainer = recipe.augmentation.model_copy(update={"paired": PLAIN})
            mended = transforms({name: replace(view, like="")}, plainer)
            mend = "write augmentation.paired=plain, or " if mended[name] == as_it_is[name] else ""
            raise ValueError(
                f"towers.keep: {noun_of(view.modality)} are looked at through {view.augmentation!r}, which is never "
                f"twice the same; {mend}leave keep out"
            )
    for tower in frozen.values():
        let_remember(tower, rows)
    for tower in teachers:
        tower.memory = Memory()
    if method.consults or any(isinstance(part, MomentumCopy) for part in method.modules()):
        return {}  # another model, or a copy, is shown the inputs themselves
    # Of several forms of a row, as captions are, one is drawn each time, so that such a view is not steady; and a frame
    # is drawn with its view.
    steady = {
        name: view
        for name, view in shown.items()
        if MODALITIES.get(view.modality).share is None and not view.framed
    }
    # Views of a column that take the same input show the same, and are drawn once for all of them.
    own = method.view_inputs
    same = {name: (view.column, view.size, name if name in own else "") for name, view in steady.items()}
    drawn = {how: DeterministicView(frozen[method.columns[how[0]]]) for how in same.values()}
    return {name: drawn[how] for name, how in same.items()}
