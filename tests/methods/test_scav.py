"""SCAV as a method: the loss of its states, the distance in use, and retrieval in two steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, SIZE, StubImage, StubSound, StubText
from torch import Tensor

import counterpoint as cp
from counterpoint import methods
from counterpoint.losses import SCAVLoss
from counterpoint.losses._distances import resampled
from counterpoint.networks.base import Tower
from counterpoint.networks.init import initialise
from counterpoint.types import Batch

WORDS = ["a small red cat", "the old hill runs", "a cat", "red hill over the"]


def build(*columns: str, **options: object) -> methods.SCAV:
    made: dict[str, Tower] = {"image": StubImage(), "text": StubText(), "audio": StubSound()}
    towers = {column: made[column] for column in columns}
    for column, tower in towers.items():
        initialise(tower, 0, column)
        tower.weights_set = True
    method = methods.create("scav", towers, RECIPE, steps=4, **options)
    initialise(method, 0)
    return method.eval()


def sounds(*lengths: int) -> cp.Waves:
    rng = np.random.default_rng(0)
    return cp.Waves.of([rng.normal(0, 1, n) for n in lengths], rate=8000)


def given(method: methods.SCAV) -> Batch:
    waves, words = sounds(40, 12, 4, 33), WORDS
    views = {"audio": method.tower("audio").input(waves), "text": method.tower("text").input(words)}
    return Batch(torch.arange(4), views)


def sequences(method: methods.SCAV, column: str, inputs: Tensor) -> Tensor:
    """Each example's states by itself, at four steps."""
    found = []
    for one in inputs:
        states = method.tower(column).states(one[None])[0]  # type: ignore[operator]
        own = states[states.ne(0).any(-1)]
        found.append(resampled(own[None], torch.tensor([len(own)]), 4)[0])
    return F.normalize(method.projections[column](torch.stack(found)), dim=-1)


def test_is_the_loss_of_states_at_one_length() -> None:
    method = build("audio", "text", temperature=0.2)
    batch = given(method)
    x, y = (sequences(method, column, batch[column]) for column in ("audio", "text"))
    expected = SCAVLoss(temperature=0.2)(x, y)
    torch.testing.assert_close(method.losses(method.encode(batch), batch, LATE)["scav"], expected)


@pytest.mark.parametrize("distance", ["euclidean", "dtw", "wasserstein"])
def test_what_is_used_is_minus_the_distance_that_was_trained(distance: str) -> None:
    method = build("audio", "text", distance=distance)
    a, b = method.embed("audio", sounds(40, 12, 33)), method.embed("text", WORDS)
    assert (a.shape, b.shape, method.width) == ((3, 32), (4, 32), 32)
    x = sequences(method, "audio", method.tower("audio").input(sounds(40, 12, 33)))
    y = sequences(method, "text", method.tower("text").input(WORDS))
    torch.testing.assert_close(
        method.similarity(a, b), -method.objective.distances(x, y), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(method.embed("text", WORDS[2:3]), b[2:3])  # whatever stands beside it


def test_a_picture_is_a_sequence_of_one() -> None:
    method = build("image", "text")
    pictures = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    z = method.embed("image", pictures).view(3, 4, -1)
    torch.testing.assert_close(z, z[:, :1].expand(-1, 4, -1))


def test_two_steps_rank_shortlist_as_sequences_and_rest_by_means() -> None:
    whole, listed = build("audio", "text"), build("audio", "text", shortlist=2)
    a, b = whole.embed("audio", sounds(40, 12, 33, 20)), whole.embed("text", WORDS)
    exact, found = whole.similarity(a, b), listed.similarity(a, b)
    means = [F.normalize(z.view(len(z), 4, -1).mean(1), dim=-1) for z in (a, b)]
    pooled = means[0] @ means[1].T
    for row in range(4):
        order, near = found[row].argsort(descending=True), pooled[row].argsort(descending=True)
        assert set(order[:2].tolist()) == set(near[:2].tolist())
        assert order[2:].tolist() == near[2:].tolist()
        torch.testing.assert_close(found[row, near[:2]], exact[row, near[:2]])
    torch.testing.assert_close(build("audio", "text", shortlist=9).similarity(a, b), exact)
