"""Sides of rows: linked rows never part, what was there stays where it was, and leaks are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.listed.division import Links, divide
from counterpoint.data.sides import SIDES


def links(
    captions: list[list[str]], pictures: list[str], groups: list[str | None] | None = None
) -> list[Links]:
    made = [
        Links.of_texts("caption", pl.Series(captions, dtype=pl.List(pl.String))),
        Links.of("picture", pl.Series(pictures, dtype=pl.String)),
    ]
    return made if groups is None else [Links.of("group", pl.Series(groups, dtype=pl.String)), *made]


def single(count: int, prefix: str = "") -> tuple[list[list[str]], list[str]]:
    return [[f"{prefix}caption {k}"] for k in range(count)], [f"{prefix}{k}" for k in range(count)]


words = st.sampled_from([f"w{k}" for k in range(60)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(words, min_size=1, max_size=2), words), min_size=1, max_size=80))
def test_linked_rows_never_part_where_links_bind(rows: list[tuple[list[str], str]]) -> None:
    captions, pictures = [c for c, _ in rows], [p for _, p in rows]
    division = divide([None] * len(rows), links(captions, pictures))
    assert set(division.sides) <= set(SIDES)
    loose = division.notes.get("rows not kept together", "")
    for kind, values in (("caption", captions), ("picture", [[p] for p in pictures])):
        if kind not in loose:
            side: dict[str, set[str]] = {}
            for mine, here in zip(values, division.sides, strict=True):
                for value in mine:
                    side.setdefault(value, set()).add(str(here))
            assert all(len(found) == 1 for found in side.values())


def test_a_tenth_each_is_held_out() -> None:
    counts = Counter(divide([None] * 4000, links(*single(4000))).sides.tolist())
    assert abs(counts["test"] - 400) < 95  # five standard deviations
    assert abs(counts["validation"] - 400) < 95  # five standard deviations


def test_a_tenth_each_is_held_out_of_rows_with_several_captions() -> None:
    captions = [[f"caption {k} {number}" for number in range(5)] for k in range(4000)]
    counts = Counter(divide([None] * 4000, links(captions, single(4000)[1])).sides.tolist())
    assert abs(counts["test"] - 400) < 95  # five standard deviations
    assert abs(counts["validation"] - 400) < 95


def test_case_and_space_make_no_other_caption() -> None:
    captions, pictures = single(200)
    captions += [["  CAPTION   7 "]]
    division = divide([None] * 201, links(captions, [*pictures, "another"]))
    assert division.sides[200] == division.sides[7]


def test_rows_stay_where_they_were_when_others_are_added() -> None:
    before = divide([None] * 300, links(*single(300))).sides
    captions, pictures = single(300)
    more, others = single(500, "new ")
    after = divide([None] * 801, links([*more, *captions, ["caption 5"]], [*others, *pictures, "z"])).sides
    assert (after[500:800] == before).all()
    assert after[800] == before[5]


def test_a_caption_that_many_rows_share_is_trained_on() -> None:
    captions, pictures = single(500)
    captions[:60] = [["a heart"]] * 60
    division = divide([None] * 500, links(captions, pictures))
    assert set(division.sides[:60]) == {"train"}
    assert "1 set, the largest of 60 rows" in division.notes["large sets of linked rows"]


def test_captions_that_name_classes_do_not_bind() -> None:
    _, pictures = single(500)
    division = divide([None] * 500, links([[f"class {k % 5}"] for k in range(500)], pictures))
    assert Counter(division.sides.tolist())["test"] > 25
    assert "one caption" in division.notes["rows not kept together"]
    assert division.leaked["caption"].sum() == (division.sides != "train").sum()


def test_groups_stay_together_and_few_groups_are_classes() -> None:
    captions, pictures = single(300)
    patients: list[str | None] = [f"patient {k // 15}" for k in range(300)]
    sides = divide([None] * 300, links(captions, pictures, patients)).sides.reshape(20, 15)
    assert (sides == sides[:, :1]).all()
    assert set(sides[:, 0]) == set(SIDES)
    halves: list[str | None] = [f"half {k % 2}" for k in range(300)]
    division = divide([None] * 300, links(captions, pictures, halves))
    assert "one group" in division.notes["rows not kept together"]
    assert "group" not in division.leaked


def test_validation_from_training_keeps_test_and_is_linked_to_it() -> None:
    captions, pictures = single(1000)
    sides: list[str | None] = ["test"] * 100 + ["train"] * 900
    division = divide(sides, links(captions, pictures))
    assert (division.sides[:100] == "test").all()
    assert 50 < (division.sides == "validation").sum() < 150


def test_rows_without_a_side_follow_those_they_are_linked_to() -> None:
    captions, pictures = single(60)
    captions += [["caption 0"], ["caption 40"]]
    sides: list[str | None] = [*["train"] * 30, *["validation"] * 10, *["test"] * 20, None, None]
    assert list(divide(sides, links(captions, [*pictures, "x", "y"])).sides[60:]) == ["train", "test"]


def test_row_linked_to_several_sides_trained_on_if_one_of_them() -> None:
    captions, pictures = single(60)
    sides: list[str | None] = [*["train"] * 30, *["validation"] * 10, *["test"] * 20, None, None]
    made = divide(sides, links([*captions, ["caption 0"], ["caption 1"]], [*pictures, "30", "40"]))
    assert list(made.sides[60:]) == ["train", "train"]


def test_row_is_linked_to_validation_and_test_is_of_validation() -> None:
    captions, pictures = single(60)
    sides: list[str | None] = [*["train"] * 30, *["validation"] * 10, *["test"] * 20, None]
    made = divide(sides, links([*captions, ["caption 30"]], [*pictures, "40"]))
    assert made.sides[60] == "validation"


def test_six_rows_are_enough_for_two_on_each_side() -> None:
    counts = Counter(divide([None] * 6, links(*single(6))).sides.tolist())
    assert counts == {"train": 2, "validation": 2, "test": 2}


def test_no_rows() -> None:
    assert len(divide([], links([], [])).sides) == 0


def test_leaks_are_found_by_every_kind_of_link() -> None:
    captions, pictures = single(100)
    groups: list[str | None] = [f"g{k // 2}" for k in range(100)]
    sides: list[str | None] = ["train"] * 49 + ["test"] * 51
    captions[60], pictures[70] = [captions[3][0].upper()], pictures[4]
    leaked = divide(sides, links(captions, pictures, groups)).leaked
    assert {kind: list(np.flatnonzero(rows)) for kind, rows in leaked.items()} == {
        "caption": [60],
        "picture": [70],
        "group": [49],
    }


def looks(rows: int, alike: list[list[int]]) -> Links:
    """Link rows of random hashes, but for sets that are a few bits apart."""
    rng = np.random.default_rng(0)
    hashes = [rng.bytes(18) for _ in range(rows)]
    for members in alike:
        for place, row in enumerate(members):
            hashes[row] = (
                bytes([hashes[members[0]][0] ^ (1 << place % 8 if place else 0)]) + hashes[members[0]][1:]
            )
    return Links.of_looks([*hashes[:-1], None])


def test_pictures_look_alike_stay_together_nothing_else_moves() -> None:
    before = divide([None] * 600, links(*single(600)))
    apart = [row for row in range(500) if before.sides[row] != before.sides[row + 50]][:3]
    pairs = [[row, row + 50] for row in apart]
    after = divide([None] * 600, [*links(*single(600)), looks(600, pairs)])
    assert all(after.sides[row] == after.sides[row + 50] for row in apart)
    others = np.setdiff1d(np.arange(600), np.concatenate(pairs))
    assert (after.sides[others] == before.sides[others]).all()
    assert "one look" in after.notes["splits"]
    assert not after.leaked["look"].any()


def test_no_two_that_look_alike_change_nothing() -> None:
    assert not len(looks(600, []).rows)


def test_a_large_set_that_looks_alike_is_divided_with_a_warning() -> None:
    link = looks(3000, [list(range(100, 140)), [5, 6]])
    assert link.rows.tolist() == [5, 6]
    assert link.too_many == (40,)
    division = divide([None] * 3000, [*links(*single(3000)), link])
    said = division.notes["sets of one look not kept together"]
    assert said.startswith("1 set, the largest of 40 rows: too many rows share one look to be copies")
    assert len(set(division.sides[100:140])) > 1


def test_looks_alike_leaks_between_given_splits_unless_same() -> None:
    captions, pictures = single(40)
    pictures[31] = pictures[2]
    given = ["train"] * 30 + ["test"] * 10
    division = divide(given, [*links(captions, pictures), looks(40, [[1, 30], [2, 31]])])
    assert np.flatnonzero(division.leaked["look"]).tolist() == [30]
    assert np.flatnonzero(division.leaked["picture"]).tolist() == [31]


def test_no_more_is_held_out_than_is_asked_for() -> None:
    whole = divide([None] * 4000, links(*single(4000)))
    few = divide([None] * 4000, links(*single(4000)), held_out=100)
    counts = Counter(few.sides.tolist())
    assert counts["test"] == counts["validation"] == 100
    held = few.sides != "train"
    assert (few.sides[held] == whole.sides[held]).all()
