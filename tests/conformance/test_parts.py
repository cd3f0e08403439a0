"""Checkpoints in parts are read by any number of ranks, and the run goes on as it would have."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from rank_pool import RankPool
from torch import Tensor
from training_jobs import job_full_disk, job_run

from counterpoint.files import checkpoints_in
from counterpoint.training.saving import checkpoint as checkpoints
from counterpoint.training.saving.checkpoint import CheckpointError
from fixtures.slow import slow

STEPS, BATCH = 9, 17
ARM = "byolip"
"""It has whole parts and parts of blocks, and momentum copies of both."""


@cache
def alone() -> tuple[list[float], dict[str, Tensor]]:
    return job_run(0, 1, ARM, 0, steps=STEPS, batch=BATCH)


@pytest.mark.parametrize(
    ("mode", "sizes"),
    [("fsdp", (2, 1, 2)), *slow(("fsdp", (2, 3, 1)), ("fsdp", (1, 3, 2)), ("ddp", (3, 1, 2)))],
)
def test_a_run_goes_on_with_another_number_of_ranks(
    mode: str, sizes: tuple[int, ...], tmp_path: Path, rank_pool: Callable[[int], RankPool]
) -> None:
    losses, state = alone()
    for size, begins, until in zip(sizes, (0, 3, 6), (2, 5, 0), strict=True):
        arguments = (ARM, 5, tmp_path, mode, STEPS, BATCH, "32", 2, until)
        found = [job_run(0, 1, *arguments)] if size == 1 else rank_pool(size).run(job_run, *arguments)
        ends = until + 1 if until else STEPS
        for told, left in found:
            # A run that goes on tells first where it stands.
            assert told[1 if begins else 0 :] == pytest.approx(losses[begins:ends], rel=1e-9)
            if ends == STEPS:
                for name, value in state.items():
                    torch.testing.assert_close(left[name], value, rtol=1e-7, atol=1e-9, msg=name)
        newest, *older = checkpoints_in(tmp_path / "checkpoint")
        assert newest.name == f"step-{ends:07d}"
        assert len(older) == 1
        assert (newest / ".metadata").exists() == (mode == "fsdp" and size > 1 and ends < STEPS)
        assert (newest / "model.safetensors").exists() != (newest / ".metadata").exists()
        assert not list((tmp_path / "checkpoint").glob("*.part"))


@pytest.fixture
def in_parts(tmp_path: Path, rank_pool: Callable[[int], RankPool]) -> tuple[Path, dict[str, Tensor]]:
    """A folder with the checkpoints of steps 2 and 3 of a run on two ranks, and what it had at the end."""
    (_, state), _ = rank_pool(2).run(job_run, ARM, 0, tmp_path, "fsdp", STEPS, BATCH, "32", 2, 2)
    return tmp_path / "checkpoint", state


def test_one_process_reads_what_two_have_written(in_parts: tuple[Path, dict[str, Tensor]]) -> None:
    folder, state = in_parts
    saved = checkpoints.load(folder)
    assert saved is not None
    assert saved.step == 3
    assert saved.optimizer
    assert saved.model.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(saved.model[name], value), name


class _Touches:
    """Object whose pickle makes a file where it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.file), "w")


def test_an_index_with_code_is_refused_and_runs_nothing(
    in_parts: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    folder, _ = in_parts
    for index in folder.glob("*/.metadata"):
        code = pickle.dumps(_Touches(tmp_path / "owned"))
        index.write_bytes(code.ljust(index.stat().st_size, b"\0"))
    with pytest.raises(CheckpointError, match=r"it names .*open, which no index of a checkpoint holds"):
        checkpoints.load(folder)
    assert not (tmp_path / "owned").exists()


def test_of_damaged_parts_the_checkpoint_before_is_taken(in_parts: tuple[Path, dict[str, Tensor]]) -> None:
    folder, _ = in_parts
    part = next((folder / "step-0000003").glob("__1_*"))
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.warns(UserWarning, match=r"it has .* bytes.*step-0000002, is used"):
        saved = checkpoints.load(folder)
    assert saved is not None
    assert saved.step == 2
    next((folder / "step-0000002").glob("__0_*")).unlink()
    with warnings.catch_warnings(), pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        checkpoints.load(folder)


def test_full_disk_of_one_rank_is_told_by_all_and_spoils_nothing(
    tmp_path: Path, rank_pool: Callable[[int], RankPool]
) -> None:
    for said in rank_pool(2).run(job_full_disk, tmp_path):
        assert "could not write the checkpoint of step 4" in said
        assert "No space left on device (it takes about " in said
        assert "are free there); the checkpoint step-0000002 is intact. " in said
        assert f"to {tmp_path / 'checkpoint'}" in said
    saved = checkpoints.load(tmp_path / "checkpoint")
    assert saved is not None
    assert saved.step == 2
