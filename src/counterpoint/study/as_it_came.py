"""The model that speaking arms go on from, as it came: it joins their study by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path

from ..files import run_of
from ..methods import METHODS
from ..methods.arm import Arm
from ..methods.whole_model import whole_model
from ..reasons import listing
from ..spec import Spec, of_seed
from ..training.folder import is_run
from ..training.run import Run
from .design import Design

_LOG = logging.getLogger(__name__)
_ORIGIN, _NOT_OF_THE_BRIDGE = "from", ("balance", "tune_image")


def with_models_as_they_came(design: Design, existing: Design | None = None) -> Design:
    """Return a design with the arm ``sft,from=X,tune=none`` for each model X that arms which speak go on from.

    It is left out where an arm of X with ``tune=none`` is in the study already, and where X does not speak itself. The
    arm has the bridge of X. A method that makes a bridge of its own, such as ``blip-2``, stands in place of ``sft``.

    Args:
        design: the study.
        existing: the study that its folder holds.
    """
    there = dict.fromkeys((*design.arms, *(existing.arms if existing else ())))
    parsed = {name: Arm.parse(of_seed(name, design.seeds[0])) for name in there}
    origins = {name: Spec.parse(name).options.get(_ORIGIN, "") for name in there}
    untouched = {origins[name] for name, arm in parsed.items() if arm.tune == "none"}
    added: list[str] = []
    for origin in dict.fromkeys(origins[name] for name in design.arms if parsed[name].speaks):
        if origin and origin not in untouched and (arm := _as_it_came(origin, design.seeds[0])):
            others = [name for name in design.arms if origins[name] == origin and parsed[name].speaks]
            _LOG.info("added %s: the model that %s %s on from, as it came", arm, *_who(others))
            added.append(arm)
    return replace(design, arms=(*added, *design.arms), added=(*added, *design.added)) if added else design


def added_in_words(design: Design) -> Iterator[str]:
    """Yield a line for each arm that joined a study by itself."""
    for arm in design.added:
        if arm in design.arms:
            yield f"{arm} was added: the model that other arms go on from, as it came, which nothing was trained of"


def _as_it_came(origin: str, seed: int) -> str:
    """Return the arm of a model as it came; empty for one that does not speak, or cannot be read."""
    if whole_model(of_seed(origin, seed)) is not None:
        return str(Spec("sft", {_ORIGIN: origin, "tune": "none"}))
    folder = run_of(Path(of_seed(origin, seed)).expanduser())
    if not is_run(folder):
        return ""  # what is wrong with it is said of the arm that names it
    run = Run.read(folder)
    arm = Arm.parse(run.arm)
    if not arm.speaks:
        return ""
    kind, name = arm.kind, arm.method
    if "bridge" in signature(kind).parameters:
        kind, name = METHODS.get("sft"), "sft"
    taken = signature(kind).parameters.keys() - {*_NOT_OF_THE_BRIDGE}
    stated = {option: value for option, value in arm.stated(run.recipe).items() if option in taken}
    return str(Spec(name, {**stated, _ORIGIN: origin, "tune": "none"}))


def _who(names: list[str]) -> tuple[str, str]:
    return listing(names), "goes" if len(names) == 1 else "go"
