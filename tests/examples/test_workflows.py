"""The examples that train, evaluate, write a method and decode run, and give what their texts say."""

from __future__ import annotations

from importlib import import_module

import pytest

pytestmark = pytest.mark.slow


def test_model_trained_on_folder_finds_the_picture_of_a_caption() -> None:
    own, mean = import_module("train_on_folder").main()
    assert own > mean + 0.1


def test_models_of_open_clip_scored_with_intervals_differences() -> None:
    pytest.importorskip("open_clip")
    first, second = import_module("evaluate_open_clip").main()
    assert first["low"] <= first["value"] <= first["high"]
    assert first["difference"] is None
    assert second["difference"]["estimate"] == pytest.approx(second["value"] - first["value"])


def test_a_method_of_ones_own_learns_beside_clip() -> None:
    scores = import_module("write_method").main()
    assert scores.keys() == {"clip", "write_method.py:TwoLosses,share=0.2"}
    assert min(scores.values()) > 0.3  # of ten digits


def test_a_contrastive_reply_takes_two_passes_for_each_token() -> None:
    result = import_module("decode_against_hallucination").main()
    assert {name: passes for name, (_, passes) in result.items()} == {"plain": 1, "vcd": 2}
    assert all(reply for reply, _ in result.values())


def test_a_detector_learns_on_the_tower_of_a_run() -> None:
    losses = import_module("detection").main()
    assert losses[-1] < 0.8 * losses[0]
