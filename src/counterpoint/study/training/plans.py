"""``plan.json``: the plan of every arm of a study of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import RootModel

from ...files import DamagedFileError, read_json, write_json
from ..design import ArmPlan

FILE = "plan.json"
_REMEDY = "delete it and run the study's compare command again, which makes it anew"


class _Plans(RootModel[dict[str, ArmPlan]]):
    """``plan.json``."""


def read_plans(folder: Path, arms: Sequence[str] = ()) -> dict[str, ArmPlan]:
    """Return the plans that a study's folder holds; none where it has no such file.

    Raises:
        DamagedFileError: if the file cannot be read, or lacks one of the arms.
    """
    path = folder / FILE
    plans = read_json(path, _Plans, _REMEDY).root if path.exists() else {}
    if missing := [arm for arm in arms if arm not in plans]:
        raise DamagedFileError(path, f"it has no plan of {', '.join(missing)}", _REMEDY)
    return plans


def write_plans(folder: Path, plans: Mapping[str, ArmPlan]) -> None:
    write_json(folder / FILE, {arm: asdict(plan) for arm, plan in plans.items()})
