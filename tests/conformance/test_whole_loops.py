"""Whole runs of methods with state of their own: killed and gone on with, or on two ranks, they end as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import whole_jobs
from method_stubs import STEPPING, build
from rank_pool import RankPool
from torch import nn
from whole_jobs import ARMS, ON_RANKS, RECIPE, UNTRAINED, job_whole, looks, moments, refer, trained

from counterpoint import methods
from counterpoint.methods import Method
from counterpoint.networks.base import Tower
from counterpoint.training.saving import checkpoint as checkpoints

every = pytest.mark.parametrize("name", ARMS)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "reference"
    refer(folder)
    return folder


@pytest.fixture(scope="module")
def dead(reference: Path) -> Path:
    """A folder of runs that were killed, by method and moment."""
    place = reference.parent
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, whole_jobs.__file__, str(place)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])},
    )
    deaths = [f"{name} {moment}" for name in ARMS for moment in moments(name, reference)]
    assert done.stdout.splitlines() == deaths, done.stderr
    return place


def test_every_method_with_state_is_killed_here() -> None:
    """State is what a look learns, and buffers other than those of towers and batch norms."""
    told = "give it options in ARMS of tests/conformance/whole_jobs.py, or in UNTRAINED the reason for none"
    for name in STEPPING:
        kind = methods.METHODS.get(name)
        if issubclass(kind, Method) and (
            kind.on_epoch_start is not Method.on_epoch_start or buffers_of(name)
        ):
            assert (name in ARMS) != (name in UNTRAINED), f"{name}: {told}"
    assert all((Path(__file__).parents[2] / file).is_file() for _, file in UNTRAINED.values())


def buffers_of(name: str) -> set[str]:
    method = build(name)
    others = [m for m in method.modules() if isinstance(m, Tower | nn.BatchNorm1d | nn.BatchNorm2d)]
    left_out = {id(buffer) for module in others for buffer in module.buffers()}
    kept = {key for key, buffer in method.named_buffers() if id(buffer) not in left_out}
    return kept & set(method.state_dict())


@pytest.mark.slow
@every
def test_run_was_killed_ends_bit_by_bit_as_if_it_had_not_been(name: str, reference: Path, dead: Path) -> None:
    looked: list[int] = []
    whole = trained(name, reference, on_look=looked.append)
    assert looked == list(looks(name, reference))
    for moment in moments(name, reference):
        folder = dead / name / moment
        saved = checkpoints.load(folder / "checkpoint")
        assert saved is not None
        assert saved.step == int(moment[-1]) // RECIPE.checkpoint_every * RECIPE.checkpoint_every
        again = trained(name, reference, folder)
        assert again.keys() == whole.keys()
        different = [part for part, value in whole.items() if not torch.equal(again[part], value)]
        assert not different, f"{moment}: {different}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "microbatch"), [*((name, 0) for name in ON_RANKS), ("sbcl", 3), ("jest", 3), ("comic", 3)]
)
def test_a_run_on_two_ranks_is_the_run_of_one(
    name: str, microbatch: int, reference: Path, rank_pool: Callable[[int], RankPool]
) -> None:
    losses, state = job_whole(0, 1, name, reference)
    assert len(losses) == RECIPE.total_steps
    for told, left in rank_pool(2).run(job_whole, name, reference, microbatch):
        assert told == pytest.approx(losses, rel=1e-9)
        assert left.keys() == state.keys()
        for part, value in state.items():
            # The gradient of a bias in front of a batch norm is rounding alone, which Adam magnifies.
            torch.testing.assert_close(left[part], value, rtol=1e-9, atol=1e-10, msg=part)
