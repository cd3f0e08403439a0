"""The data of a run with the rows and the tags that its seed draws."""

from __future__ import annotations

from dataclasses import replace

from ..data.base import Data
from ..data.derived.drawn import DrawnData
from ..data.derived.labelling import Labelling
from ..methods.arm import Arm
from .run import Run


def labelling_of(run: Run) -> Labelling | None:
    """Return the label that methods learn from, with the number of shots that the arm asks for; None for no label.

    Raises:
        ValueError: for an arm with shots where no label is named.
    """
    arm = Arm.parse(run.arm)
    labels = run.labels or arm.labels
    if not labels:
        if arm.shots is not None:
            raise ValueError(f"arm {run.arm!r}: shots are of a label; name one with --labels NAME")
        return None
    labelling = Labelling.parse(labels)
    return labelling if arm.shots is None else replace(labelling, shots=arm.shots)


def drawn(run: Run, data: Data) -> Data:
    """Return the data that a run trains on: the rows and the tags that its seed draws of the data that is given.

    The record of what a run is made of is about the data as it is given, which is the same for all seeds.
    """
    labelling = labelling_of(run)
    if labelling is None or not labelling.draws or isinstance(data, DrawnData):
        return data
    return DrawnData(data, labelling, run.seed, unlabelled=Arm.parse(run.arm).kind.unlabelled)
