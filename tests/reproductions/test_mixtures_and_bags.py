"""The worlds of claims about frozen spaces, mixtures of pairs, and bags of regions."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.source import load_any
from counterpoint.methods.arm import Arm
from counterpoint_reproductions import cwcl, m3col, mil_multimodal, multimodn
from counterpoint_reproductions.lab import data_sums as sums
from counterpoint_reproductions.lab import data_triplets as triplets
from counterpoint_reproductions.lab import data_tumours as tumours


def test_one_hot_weights_make_cwcl_infonce_full_shares_make_m3co() -> None:
    assert cwcl.one_hot() < 1e-12
    assert m3col.unmixed() < 1e-12


def test_arms_of_cwcl_freeze_the_tower_that_they_are_given() -> None:
    arms = [Arm.parse(arm) for arm in cwcl.into("frozen=image,image=mlp@runs/one").values()]
    assert {arm.towers["image"] for arm in arms} == {"mlp@runs/one"}
    assert {arm.options["frozen"] for arm in arms} == {"image"}


def test_the_limits_of_log_sum_exp() -> None:
    assert mil_multimodal.limits() < 1e-5


def test_wrong_partner_is_another_s_and_held_out_rows_have_none() -> None:
    data, emoji = triplets.WRONG, triplets.WRONG.emoji
    train, wrong = data.splits.train, np.flatnonzero(~data.clean)
    assert np.isin(wrong, train).all()
    assert len(wrong) == round(triplets.SHARE * len(train))
    every = np.arange(len(data))
    names = [one != own for one, own in zip(data.read("text", every), emoji.read("text", every), strict=True)]
    drawn = (data.read("drawn", wrong) != emoji.shifts()["artist"](wrong)).flatten(1).any(1).numpy()
    assert sum(names) == pytest.approx(len(wrong) / 2, abs=1)
    assert drawn.sum() == pytest.approx(len(wrong) / 2, abs=1)
    assert not np.array(names)[data.clean].any()
    assert (drawn != np.array(names)[wrong]).all()
    assert data.read_training("text", wrong[-1:]) == [emoji.captions(int(data.sources["text"][wrong[-1]]))]


def test_blocks_of_tumours_share_no_measurement_and_have_all_of() -> None:
    every = np.arange(len(tumours.TUMOURS))
    blocks = [tumours.TUMOURS.read(block, every) for block in tumours.BLOCKS]
    for block, table in zip(tumours.BLOCKS, blocks, strict=True):
        known = (~table.cells.isnan()).all(0)
        names = [name for name, there in zip(table.names, known.tolist(), strict=True) if there]
        assert len(names) == 10
        assert all(block in name.split() for name in names)
        assert table.cells[:, ~known].isnan().all()
    assert sum(table.cells.nan_to_num(0) for table in blocks).equal(tumours.TUMOURS.values)


@pytest.mark.parametrize(("data", "trained"), [(sums.HALF, 480), (sums.MOST, 721)])
def test_every_pair_of_numbers_trains_validates_or_tests_once(data: sums.Sums, trained: int) -> None:
    (validation,), (test,) = data.splits.validation.values(), data.splits.test.values()
    assert (len(data.splits.train), len(validation)) == (trained, 96)
    every = np.concatenate([data.splits.train, validation, test])
    assert np.array_equal(np.sort(every), np.arange(961))
    pairs = [tuple(map(int, row.values())) for row in data.read("pair", every).rows()]
    assert len(set(pairs)) == 961
    label = data.labels[sums.LABEL]
    assert [int(label.names[label.values[row]]) for row in every] == [(a + b) % 31 for a, b in pairs]


def test_the_benign_lack_the_block_where_gaps_are_reversed() -> None:
    plain, same, flipped = (
        load_any(name)
        for name in (multimodn.DATA, multimodn.lacking(0.8), multimodn.lacking(0.8, ",in=reversed"))
    )
    (test,), train = plain.splits.test.values(), plain.splits.train
    malignant = plain.classes[tumours.LABEL].values == 1
    for data, rows, of_class in (
        (same, test, malignant),
        (flipped, train, malignant),
        (flipped, test, ~malignant),
    ):
        gone = ~data.present(multimodn.BLOCK, rows)
        assert not gone[~of_class[rows]].any()
        assert gone[of_class[rows]].mean() == pytest.approx(0.8, abs=0.1)
    assert plain.present(multimodn.BLOCK, test).all()
