"""The data of runs and of studies, with the labels that methods learn from as they were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .. import models
from ..data.base import Data, Rows
from ..data.derived.labelling import Labelling
from ..data.derived.new_classes import NewClassesData
from ..data.derived.relabelled import RelabelledData
from ..data.embeddings import EmbeddingCache
from ..data.source import load_any
from ..evaluation.task import asked_column
from ..methods.arm import Arm
from ..modalities import MODALITIES, resolve
from ..spec import of_seed
from ..training.run import Run

if TYPE_CHECKING:
    from .design import Design


def open_data(of: Run | Design) -> Data:
    """Open the data of a run or of a study as its methods see the data in training: with few labels, or wrong ones.

    Raises:
        UnknownNameError: for data, or a label of it, that there is not.
        ValueError: for data that cannot be used, and for what its label cannot be made.
    """
    data = load_any(of.data, of.recipe.towers.image_size)
    data.check_splits()
    return relabelled(with_derived(data, (of.arm,) if isinstance(of, Run) else of.arms), of.labels)


def with_derived(data: Data, arms: Iterable[str]) -> Data:
    """Return data with the columns that arms read, it lacks, and can be made of its other columns.

    Raises:
        ValueError: for data that they cannot be made of.
    """
    for arm in arms:
        parsed = Arm.parse(of_seed(arm, 0))
        for name in dict.fromkeys((*parsed.kind.needs.modalities, *parsed.columns)):
            if name in MODALITIES and name not in (*data.columns, *data.columns.values()):
                derive = resolve(MODALITIES.get(name).derive)
                data = data if derive is None else derive(data)
    return data


def relabelled(data: Data, labels: str) -> Data:
    """Return data of which training learns a label, and whose rows to train on show it as it was asked for.

    What the seed of a run draws is drawn where the run begins; see `counterpoint.training.drawn`.

    Args:
        data: all of it.
        labels: as of `counterpoint.data.derived.labelling.Labelling`; empty for none.
    """
    if not labels:
        return data
    labelling = Labelling.parse(labels)
    if labelling.new:
        data = NewClassesData(data, labelling.label, labelling.new)
    if not labelling.changes:
        return data.learning(labelling.label)
    return RelabelledData(
        data, labelling, partial(_embedded, labelling.encoder) if labelling.encoder else None
    )


def _embedded(reference: str, data: Data, rows: Rows) -> Float[np.ndarray, "n d"]:
    model = models.load(reference)
    features = EmbeddingCache.of(model, data.suited(model.inputs))
    return features.column(asked_column("kind=similar", features), rows).numpy()
