from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from counterpoint.data import views


def _splitmix(x: int) -> int:
    """SplitMix64 in plain integers: the generator's step, then its output function."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_mix_is_splitmix64() -> None:
    from counterpoint.data.views import keys

    # The published first output of the generator seeded with 0.
    assert int(keys._mix(np.array([0], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
    for value in (1, 12345, 2**63, 2**64 - 1):
        assert int(keys._mix(np.array([value], dtype=np.uint64))[0]) == _splitmix(value)


@given(
    st.integers(-(2**70), 2**70),
    st.integers(0, 10**6),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    st.randoms(),
)
def test_a_key_depends_on_its_own_example_only(seed, epoch, ids, random) -> None:
    together = views.key(seed, epoch, np.array(ids, dtype=np.int64), "image")
    order = list(range(len(ids)))
    random.shuffle(order)
    shuffled = views.key(seed, epoch, np.array([ids[i] for i in order], dtype=np.int64), "image")
    assert (shuffled == together[order]).all()
    for position, example in enumerate(ids):
        alone = views.key(seed, epoch, np.array([example], dtype=np.int64), "image")
        assert alone[0] == together[position]
        assert (views.uniform(alone, "x", 3)[0] == views.uniform(together, "x", 5)[position, :3]).all()


def test_every_part_of_key_matters_and_no_two_examples_share_one() -> None:
    ids = np.arange(100_000)
    base = views.key(0, 0, ids, "image")
    assert len(np.unique(base)) == len(ids)
    for other in (
        views.key(1, 0, ids, "image"),
        views.key(0, 1, ids, "image"),
        views.key(0, 0, ids, "image.1"),
        views.key(0, 0, ids + 1, "image"),
    ):
        assert not (other == base).any()
    assert not (views.key(1, 0, ids, "image") == views.key(0, 1, ids, "image")).any()


def test_another_process_draws_the_same() -> None:
    program = (
        "import numpy as np; from counterpoint.data import views; "
        "print(views.uniform(views.key(3, 1, np.arange(64)[::-1], 'image'), 'crop', 4).tolist())"
    )
    there = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    here = views.uniform(views.key(3, 1, np.arange(64), "image"), "crop", 4)
    assert (np.array(json.loads(there.stdout))[::-1] == here).all()


def test_draws_are_uniform_and_uncorrelated() -> None:
    keys = views.key(0, 0, np.arange(50_000), "image")
    draws = np.concatenate(
        [
            views.uniform(keys, "a", 3),
            views.uniform(keys, "b"),
            views.uniform(views.key(0, 1, np.arange(50_000), "image"), "a"),
        ],
        axis=1,
    )
    assert draws.min() >= 0
    assert draws.max() < 1
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(draws, rowvar=False)[np.triu_indices(draws.shape[1], 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(keys))
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(len(keys))
