from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.data.base import Splits
from counterpoint.data.synthetic.emoji.splits import NEAR, SAME, alike, components, compositions, low_pass
from counterpoint.data.synthetic.emoji.world import Emoji

ENDS = {
    "train": (1, 3943, 5046443),
    "validation compositions": (179, 2550, 327716),
    "validation concepts": (0, 3928, 538745),
    "test compositions": (175, 2552, 678303),
    "test concepts": (2, 3942, 1184389),
}


@pytest.fixture(scope="module")
def emoji() -> Emoji:
    return Emoji()


@pytest.fixture(scope="module")
def columns(emoji: Emoji) -> dict[str, list[object]]:
    return emoji.table.to_dict()


@pytest.fixture(scope="module")
def near(emoji: Emoji) -> np.ndarray:
    """Pairs of rows with nearly the same pictures, measured on the pictures, whatever the table says."""
    return np.array(alike(emoji.pictures, NEAR))


def sides(splits: Splits) -> dict[str, np.ndarray]:
    found = {"train": splits.train}
    found |= {f"validation {name}": rows for name, rows in splits.validation.items()}
    return found | {f"test {name}": rows for name, rows in splits.test.items()}


def side_of(splits: Splits) -> np.ndarray:
    where = np.full(3944, "", dtype=object)
    for name, rows in sides(splits).items():
        where[rows] = name
    return where


def test_counts(emoji: Emoji) -> None:
    counts = {
        name: (len(rows), int((emoji.subsets[rows] == "tone variants").sum()))
        for name, rows in sides(emoji.splits).items()
    }
    assert counts == {
        "train": (2324, 975),
        "validation compositions": (250, 221),
        "validation concepts": (295, 150),
        "test compositions": (500, 414),
        "test concepts": (575, 270),
    }


def test_counts_of_the_artist_split() -> None:
    splits = Emoji("artist").splits
    assert {name: len(rows) for name, rows in sides(splits).items()} == {
        "train": 3074,
        "validation unseen": 295,
        "test seen": 3074,
        "test unseen": 575,
    }


def test_first_and_last_row_of_each_side(emoji: Emoji) -> None:
    """The split is part of the data: rows stay where they are, whatever the machine."""
    ends = {
        name: (int(rows[0]), int(rows[-1]), int(rows.sum())) for name, rows in sides(emoji.splits).items()
    }
    assert ends == ENDS


def test_every_emoji_is_on_one_side(emoji: Emoji) -> None:
    rows = np.concatenate(list(sides(emoji.splits).values()))
    assert sorted(rows) == list(range(3944))


def test_held_out_concepts_cover_all_groups(emoji: Emoji, columns: dict[str, list[object]]) -> None:
    for rows in (emoji.splits.validation["concepts"], emoji.splits.test["concepts"]):
        counts = Counter(columns["group"][row] for row in rows)
        assert len(counts) == 9
        assert min(counts.values()) >= 6


def test_no_concept_crosses_to_or_from_a_held_out_concept(
    emoji: Emoji, columns: dict[str, list[object]]
) -> None:
    where = side_of(emoji.splits)
    concepts = {}
    for row, concept in enumerate(columns["concept"]):
        concepts.setdefault(str(concept).removesuffix(" facing right"), set()).add(where[row])
    for found in concepts.values():
        assert len(found) == 1 or not any("concepts" in side for side in found)


def test_every_factor_of_a_held_out_composition_trains(
    emoji: Emoji, columns: dict[str, list[object]]
) -> None:
    keys = compositions(columns)
    trained = [{keys[row][part] for row in emoji.splits.train} for part in range(3)]
    where = side_of(emoji.splits)
    for sets in (emoji.splits.validation, emoji.splits.test):
        for row in sets["compositions"]:
            assert all(keys[row][part] in trained[part] for part in range(3))
    by_composition: dict[tuple[object, ...], set[str]] = {}
    for row, key in enumerate(keys):
        by_composition.setdefault(key, set()).add(where[row])
    assert all(len(found) == 1 for found in by_composition.values())


def test_at_least_half_of_every_factor_s_bundles_train(
    emoji: Emoji, columns: dict[str, list[object]]
) -> None:
    keys = compositions(columns)
    where = side_of(emoji.splits)
    first = {}  # the first row of each composition, to tie its rows together
    ties = [(first.setdefault(key, row), row) for row, key in enumerate(keys)]
    bundles = components(3944, [*ties, *enumerate(columns["same"])])
    trained: dict[tuple[int, object], dict[int, bool]] = {}
    for row, key in enumerate(keys):
        if "concepts" not in where[row]:
            for factor in enumerate(key):
                trained.setdefault(factor, {})[bundles[row]] = where[row] == "train"
    assert all(2 * sum(each.values()) >= len(each) for each in trained.values())


def test_nearly_the_same_pictures_never_cross_held_out_concepts(emoji: Emoji, near: np.ndarray) -> None:
    where = side_of(emoji.splits)
    left, right = where[near[:, 0]], where[near[:, 1]]
    held = np.array(["concepts" in side for side in where])
    crossing = (left != right) & (held[near[:, 0]] | held[near[:, 1]])
    assert not crossing.any()
    assert len(near) > 1000


def test_the_same_picture_never_crosses_any_side(emoji: Emoji) -> None:
    where = side_of(emoji.splits)
    pairs = np.array(alike(emoji.pictures, SAME))
    assert (where[pairs[:, 0]] == where[pairs[:, 1]]).all()
    names = emoji.table["name"][:]
    said = {(names[a], names[b]) for a, b in pairs}
    assert ("flag: Norway", "flag: Svalbard & Jan Mayen") in said  # the same in both sets
    assert ("farmer", "man farmer") in said  # in OpenMoji's


def test_the_table_s_components_are_those_of_the_pictures(
    emoji: Emoji, columns: dict[str, list[object]], near: np.ndarray
) -> None:
    """``near`` and ``same`` were measured once: they hold for the installed packages."""
    assert columns["near"] == components(3944, map(tuple, near.tolist()))
    assert columns["same"] == components(3944, alike(emoji.pictures, SAME))


def test_artist_split_leaks_nothing(near: np.ndarray) -> None:
    data = Emoji("artist")
    splits = data.splits
    assert (splits.train < 3944).all()  # one artist trains,
    held = [*splits.validation.values(), *splits.test.values()]
    assert all((rows >= 3944).all() for rows in held)  # the other is tested
    assert not set(splits.validation["unseen"]) & {*splits.test["seen"], *splits.test["unseen"]}
    assert set(splits.test["seen"] - 3944) == set(splits.train)
    side = np.zeros(3944, int)
    side[splits.validation["unseen"] - 3944] = 1
    side[splits.test["unseen"] - 3944] = 2
    assert (side[near[:, 0]] == side[near[:, 1]]).all()  # near holds pairs across artists too
    assert (data.splits.test["unseen"] - 3944 == Emoji().splits.test["concepts"]).all()


def test_alike_is_rms_of_block_means_in_any_set_and_across_sets() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (6, 3, 72, 72)).astype(np.uint8) for _ in range(2))
    one[4] = one[1]
    one[4, 0, :36] = np.clip(one[4, 0, :36].astype(int) + 12, 0, 255)  # a small change
    other[3] = one[2]  # across sets

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        total = 0.0
        for channel in range(3):
            for y in range(0, 72, 3):
                for x in range(0, 72, 3):
                    means = (p[channel, y : y + 3, x : x + 3].astype(float).mean() / 255 for p in (a, b))
                    total += (next(means) - next(means)) ** 2
        return float(np.sqrt(total / (3 * 24 * 24)))

    both = [one, other]
    expected = {
        (i, j)
        for i, j in combinations(range(6), 2)
        if min(difference(p[i], q[j]) for p in both for q in both) < NEAR
    }
    assert set(alike(both, NEAR)) == expected == {(1, 4), (2, 3)}
    rows = low_pass(one)
    assert np.linalg.norm(rows[0] - rows[5]) == pytest.approx(difference(one[0], one[5]), rel=1e-5)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_components_are_the_reachable_sets(pairs: list[tuple[int, int]]) -> None:
    reach = np.eye(12, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(12):
        reach = reach @ reach
    assert components(12, pairs) == [int(np.flatnonzero(row)[0]) for row in reach]
