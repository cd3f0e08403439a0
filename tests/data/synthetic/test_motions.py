"""The world of people in motion: functions of a row alone, devices that are copies of one motion, gaps."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from counterpoint.data.rng import Rng
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.motions import ACTIVITIES, DEVICES, Motion, MotionConfig, Motions, Stretch
from counterpoint.data.synthetic.motions.config import SHORTEST, compose_motion
from counterpoint.data.synthetic.motions.measuring import measure
from counterpoint.registry import UnknownNameError

SMALL = "train=40,validation=4,test=6"
WALK = Motion(3, 200, (Stretch("walking", "ordinary", 0),))


def world(preset: str = "basic", options: str = "") -> Motions:
    data = load_any(f"motions:{preset},{SMALL}{options}")
    assert isinstance(data, Motions)
    return data


@pytest.mark.parametrize("preset", ["basic", "loose", "long"])
def test_a_row_is_the_same_whenever_and_wherever_it_is_read(preset: str) -> None:
    data, rows = world(preset), np.array([0, 5, 41, 50])
    for other in (data, pickle.loads(pickle.dumps(data))):
        for device in DEVICES:
            whole, back = data.read(device, rows), other.read(device, rows[::-1].copy())
            assert torch.equal(back.measured.flip(0), whole.measured)
            assert torch.equal(other.read(device, rows[1:2]).measured, whole.measured[1:2])
        assert other.read("text", rows) == data.read("text", rows)
        assert other.fingerprint.parts == data.fingerprint.parts


def test_stretches_fill_recording_and_longest_is_its_activity() -> None:
    config = MotionConfig(steps=600, changes=(2, 6))
    for index in range(200):
        motion = compose_motion(config, 0, index)
        spans = motion.spans
        assert 3 <= len(spans) <= 7
        assert [first for _, first, _ in spans] == [0, *(end for _, _, end in spans[:-1])]
        assert spans[-1][2] == 600
        assert min(end - first for _, first, end in spans) >= SHORTEST
        assert all(a.activity != b.activity for (a, *_), (b, *_) in pairwise(spans))
        steps = {name: sum(e - f for s, f, e in spans if s.activity == name) for name in ACTIVITIES}
        assert steps[motion.longest] == max(steps.values())


def test_devices_are_turned_and_amplified_copies_of_one_motion() -> None:
    config, draws = MotionConfig(noise=0, delay=0), Rng(0, 0)
    wrist, ankle, _ = (measure(WALK, device, config, 0, draws).astype(float) for device in DEVICES)
    moved = []
    for measured, gain in ((wrist, 0.8), (ankle, 1.2)):
        # Without gravity, which is as strong for each: a turn keeps lengths, and gains are those of the activity.
        motion = measured[:, :3] - measured[:, :3].mean(0)
        moved.append(np.linalg.norm(motion, axis=1) / gain)
    assert np.abs(moved[0] - moved[1]).max() < 0.05 < moved[0].max() / 4
    turns = [
        np.linalg.norm(measured[:, 3:], axis=1) / gain for measured, gain in ((wrist, 0.8), (ankle, 1.2))
    ]
    np.testing.assert_allclose(turns[0], turns[1], atol=3e-3)
    assert np.abs(wrist - ankle).max() > 0.1


def test_a_device_is_late_and_adds_noise() -> None:
    draws = Rng(0, 0)
    plain, noisy = (
        measure(WALK, "wrist", MotionConfig(noise=noise, delay=0), 0, draws) for noise in (0.0, 0.2)
    )
    assert (noisy - plain).std() == pytest.approx(0.2, rel=0.1)
    loose = measure(WALK, "wrist", MotionConfig(noise=0.2, delay=0, loose=("wrist",)), 0, draws)
    assert (loose - plain).std() == pytest.approx(2.0, rel=0.1)
    late = measure(WALK, "wrist", MotionConfig(noise=0, delay=9), 0, draws)
    steps = draws.integer("delay of wrist", 0, 9)
    assert steps > 0
    np.testing.assert_allclose(late[steps:], plain[:-steps], atol=1.1e-3)


def test_users_wear_devices_alike_rows_other_users_kept_for_test() -> None:
    data, users = world(), world().labels["user"].values
    assert set(users[data.splits.train]) <= set(range(12))
    assert set(users[data.splits.test["new users"]]) <= set(range(12, 18))
    config = MotionConfig(noise=0, delay=0)
    mine, others = (
        measure(Motion(user, 200, WALK.stretches), "hip", config, 0, Rng(0, 0)) for user in (3, 4)
    )
    assert np.abs(mine - others).max() > 0.05


def test_rows_may_lack_devices_and_texts() -> None:
    data, rows = world(options=",missing_devices=0.5,missing_captions=0.5"), np.arange(40)
    for column in data.columns:
        there = data.present(column, rows)
        assert 8 < there.sum() < 32
        read = data.read(column, rows)
        empty = (
            [not text for text in read] if column == "text" else (read.measured == 0).all(2).all(1).tolist()
        )
        assert empty == (~there).tolist()


def test_columns_are_chosen_in_their_order() -> None:
    data = world(options=",columns=hip+wrist")
    assert dict(data.columns) == {"hip": "series", "wrist": "series"}
    assert pickle.loads(pickle.dumps(data)).columns == data.columns
    with pytest.raises(UnknownNameError, match="ankle"):
        data.read("ankle", np.array([0]))
    with pytest.raises(UnknownNameError, match="wrist"):
        world(options=",columns=wirst")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",changes=8", "take at least 180 steps"),
        (",activities=walking", "two activities"),
        (",users=5-2", "5-2"),
    ],
)
def test_what_cannot_be_is_refused(options: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        world(options=options)
