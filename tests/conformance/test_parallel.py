"""However many processes share a model, and in whichever way, its run is that of one process."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from rank_pool import RankPool
from torch import Tensor
from training_jobs import job_exchanges, job_refused, job_run

from counterpoint import losses, methods
from fixtures.slow import slow

KINDS = {
    "self-distillation": "byolip",
    "clustering": "swalip",
    "local features": "filip",
    "labels": "supcon",
    "margin": "margin-ntxent",
    "queue": "moco,queue=40",
    "redundancy reduction": "barlip",
    "sequences": "scav",
    "sigmoid": "siglip",
    "softmax": "clip",
    "supervised": "cross-entropy",
    "alignment and uniformity": "align-uniform",
    "weighted": "isogclr",
}
"""A method for each family of losses but `OTHERS`."""
OTHERS = ("tags", "pictures", "preference")
"""Families of losses that look at one example at a time: tags are learned as classes are."""
TOGETHER = {
    "byolip": ("fsdp", 5),
    "moco,queue=40": ("fsdp", 5),
    "clip": ("fsdp", 0),
    "siglip": ("ddp", 5),
}
"""The way and the microbatch of methods that are trained one after another."""
STEPS, BATCH = 10, 17
"""A batch that neither two nor three ranks share evenly."""


@cache
def alone(arm: str) -> tuple[list[float], dict[str, Tensor]]:
    """The run of one process, the whole batch at a time."""
    return job_run(0, 1, arm, 0, steps=STEPS, batch=BATCH)


def test_there_is_a_method_for_each_kind_of_loss() -> None:
    assert {losses.LOSSES.stated(name, "family") for name in losses.names()} == {*KINDS, *OTHERS}
    assert methods.EBM.draws


def same_run(found: list[Any], arm: str) -> None:
    told, state = alone(arm)
    assert len(told) == STEPS
    for losses_there, left in found:
        assert losses_there == pytest.approx(told, rel=1e-9)
        assert left.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(
                left[name], value, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_chains_of_all_ranks_are_in_the_one_checkpoint(rank_pool: Callable[[int], RankPool]) -> None:
    (_, first), (_, second) = rank_pool(2).run(job_run, "ebm,buffer=200", 0, None, "ddp", 2, BATCH)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("arm", ["byolip", "clip", *slow("moco,queue=40", "siglip")])
def test_a_shared_run_is_the_run_of_one_process(arm: str, rank_pool: Callable[[int], RankPool]) -> None:
    mode, microbatch = TOGETHER[arm]
    same_run(rank_pool(2).run(job_run, arm, microbatch, None, mode, STEPS, BATCH), arm)


@pytest.mark.parametrize(("mode", "microbatch"), [("fsdp", 5), ("ddp", 0), *slow(("ddp", 5), ("fsdp", 0))])
def test_blocks_compute_again(mode: str, microbatch: int, rank_pool: Callable[[int], RankPool]) -> None:
    arguments = ("clip", microbatch, None, mode, STEPS, BATCH, "32", STEPS, 0, True)
    same_run(rank_pool(2).run(job_run, *arguments), "clip")


@pytest.mark.parametrize("mode", ["ddp", *slow("fsdp")])
def test_losses_may_be_computed_in_tiles(mode: str, rank_pool: Callable[[int], RankPool]) -> None:
    same_run(rank_pool(2).run(job_run, "clip", 5, None, mode, STEPS, BATCH, "32", STEPS, 0, False, 4), "clip")


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "microbatch", "again"), [("ddp", 0, False), ("fsdp", 5, True)])
def test_blocks_may_be_compiled(
    mode: str, microbatch: int, again: bool, rank_pool: Callable[[int], RankPool]
) -> None:
    arguments = ("clip", microbatch, None, mode, STEPS, BATCH, "32", STEPS, 0, again, None, True)
    same_run(rank_pool(2).run(job_run, *arguments), "clip")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mode", "size"),
    [
        *((kind, mode, size) for kind in KINDS for mode, size in (("ddp", 3), ("fsdp", 2))),
        # What the way and the number of ranks do to each other does not depend on the loss.
        *(("softmax", mode, size) for mode, size in (("ddp", 2), ("fsdp", 3))),
    ],
)
def test_so_it_is_for_every_kind_of_loss(
    kind: str, mode: str, size: int, rank_pool: Callable[[int], RankPool]
) -> None:
    for microbatch in (0, 5):
        same_run(rank_pool(size).run(job_run, KINDS[kind], microbatch, None, mode, STEPS, BATCH), KINDS[kind])


@pytest.mark.parametrize("mode", ["fsdp", *slow("ddp")])
def test_half_precision_trains_on_ranks_too(mode: str, rank_pool: Callable[[int], RankPool]) -> None:
    whole, _ = job_run(0, 1, "clip", 5, steps=3, batch=BATCH, precision="bf16-mixed")
    for told, _ in rank_pool(2).run(job_run, "clip", 5, None, mode, 3, BATCH, "bf16-mixed"):
        # Eight bits of a number, in a loss of about 3.
        assert told == pytest.approx(whole, rel=2**-7)


def test_gradients_are_exchanged_behind_last_microbatch_alone(
    rank_pool: Callable[[int], RankPool],
) -> None:
    for whole, in_three in rank_pool(2).run(job_exchanges):
        assert whole == in_three > 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"precision": "16-mixed"}, "take bf16-mixed or 32"),
        ({"towers.image": "mlp", "towers.text": "bag"}, "no tower .* has blocks"),
        ({"microbatch": 1, "batch_size": 17}, "the 8 examples of one rank are fewer"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_by_name(
    changes: dict[str, Any], fault: str, rank_pool: Callable[[int], RankPool]
) -> None:
    for said in rank_pool(2).run(job_refused, changes):
        assert said.startswith("parallel.mode=fsdp: ")
        assert re.search(fault, said), said


def test_one_process_has_nothing_to_share() -> None:
    assert "there is one: start several with torchrun" in job_refused(0, 1, {})
