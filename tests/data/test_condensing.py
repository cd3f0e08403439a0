"""Condensing: pictures whose gradients are those of many, and the folder that they are written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.cli import main
from counterpoint.data.curation import condensing, matching
from counterpoint.data.curation.condensing import WORK, condense
from counterpoint.data.curation.matching import (
    Condensed,
    RealPictures,
    condensed,
    distance,
    gradients,
    herded,
    mismatch,
    start,
)
from counterpoint.data.source import load_any
from counterpoint.networks.plain_convnet import plain_convnet

F64 = torch.float64


def some(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(shape, dtype=F64) for shape in shapes]


@pytest.fixture(scope="module")
def real() -> RealPictures:
    """Three classes of noise, each with a colour of its own."""
    g = torch.Generator().manual_seed(0)
    classes = []
    for channel in range(3):
        pictures = torch.randint(0, 120, (24, 3, 8, 8), dtype=torch.uint8, generator=g)
        pictures[:, channel] += 100
        classes.append(pictures)
    return RealPictures(classes)


def test_distance_of_rows_of_layer_and_vectors_count_nothing() -> None:
    ours, theirs = some((3, 2, 2), (4,), (2, 5)), some((3, 2, 2), (4,), (2, 5))
    expected = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.ndim > 1:
            for x, y in zip(a, b, strict=True):
                expected += 1 - float((x * y).sum() / (x.norm() * y.norm() + 1e-6))
    assert float(distance(ours, theirs)) == pytest.approx(expected)
    scaled = [7 * a for a in ours]
    assert float(distance(ours, scaled)) == pytest.approx(0, abs=1e-5)


def test_orders_differ_in_when_sum_taken_and_agree_for_one_class() -> None:
    ours, theirs = ([some((2, 3), (4, 2)) for _ in range(2)] for _ in range(2))
    each = sum(float(distance(a, b)) for a, b in zip(ours, theirs, strict=True))
    summed = [[(a + b) / 2 for a, b in zip(*both, strict=True)] for both in (ours, theirs)]
    assert float(mismatch(ours, theirs, "dc")) == pytest.approx(each)
    assert float(mismatch(ours, theirs, "dcc")) == pytest.approx(float(distance(*summed)))
    assert float(mismatch(ours[:1], theirs[:1], "dc")) == float(mismatch(ours[:1], theirs[:1], "dcc"))


def test_what_all_classes_share_cancels_in_the_sum_alone() -> None:
    own, shared = some((3, 6), (3, 6)), some((3, 6))[0]
    # Gradients of two classes: what they share up to its sign, which cancels, and a little of their own.
    theirs = [[shared + 0.1 * own[0]], [-shared + 0.1 * own[1]]]
    without = [[shared], [-shared]]
    assert float(mismatch(without, theirs, "dc")) < 0.1
    assert float(mismatch(without, theirs, "dcc")) > 1  # it says nothing of what tells the classes apart


def test_the_mean_of_class_gradients_is_that_of_the_whole_set(real: RealPictures) -> None:
    network = plain_convnet(3, 8, width=4)
    parts = [real.some(c, 5) for c in range(3)]
    each = [gradients(network, part, c, graph=False) for c, part in enumerate(parts)]
    labels = torch.arange(3).repeat_interleave(5)
    whole = torch.autograd.grad(
        F.cross_entropy(network(torch.cat(parts)), labels), list(network.parameters())
    )
    for layer, expected in zip(zip(*each, strict=True), whole, strict=True):
        torch.testing.assert_close(torch.stack(layer).mean(0), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", ["dcc", "dc"])
def test_pictures_move_towards_gradients_and_go_on_where_stood(real: RealPictures, order: Any) -> None:
    begun = start(real, 1)
    states = list(condensed(real, begun, order, iterations=4, width=4))
    assert [state.iteration for state in states] == [1, 2, 3, 4]
    assert not torch.equal(states[-1].pictures, begun.pictures)
    *_, again = condensed(real, states[1], order, iterations=4, width=4)
    assert torch.equal(again.pictures, states[-1].pictures)
    assert torch.equal(again.momentum, states[-1].momentum)


@pytest.mark.parametrize(
    ("per_class", "steps", "epochs"), [(1, 10, 5), (9, 10, 5), (10, 10, 50), (19, 10, 50), (20, 20, 25)]
)
def test_steps_and_epochs_are_those_of_the_release(
    real: RealPictures, per_class: int, steps: int, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def mismatch_of(ours: Any, theirs: Any, order: str) -> torch.Tensor:
        calls.append("step")
        return mismatch(ours, theirs, "dc")

    monkeypatch.setattr(matching, "mismatch", mismatch_of)
    monkeypatch.setattr(matching, "_fit", lambda *given: calls.append(f"{given[-1]} epochs"))
    next(condensed(real, start(real, per_class), iterations=1, width=4))
    assert calls == ["step", f"{epochs} epochs"] * (steps - 1) + ["step"]


def test_between_two_steps_the_network_learns_by_plain_sgd(
    real: RealPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    taken: list[torch.Tensor] = []

    def gradients_of(network: Any, pictures: torch.Tensor, number: int, *, graph: bool) -> Any:
        if graph and number == 0:
            kept.append({name: p.detach().clone() for name, p in network.named_parameters()})
        if graph:
            taken.append(pictures.detach().clone())
        return gradients(network, pictures, number, graph=graph)

    monkeypatch.setattr(matching, "gradients", gradients_of)
    next(condensed(real, start(real, 2), iterations=1, width=4))
    assert len(kept) == 10
    network, labels = plain_convnet(3, 8, width=4), torch.arange(3).repeat_interleave(2)
    network.load_state_dict(kept[0])
    # The pictures of the second step are those that the network has learned of after the first one.
    pictures = torch.cat(taken[3:6])
    for _ in range(5):
        grads = torch.autograd.grad(F.cross_entropy(network(pictures), labels), list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), grads, strict=True):
                parameter.sub_(0.01 * gradient)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.detach(), kept[1][name], rtol=1e-4, atol=1e-6)


def test_warm_up_is_class_by_class(real: RealPictures) -> None:
    def first(order: Any) -> Condensed:
        return next(condensed(real, start(real, 1), order, iterations=8, width=4))

    assert torch.equal(first("dc").pictures, first("dcc").pictures)


def test_herded_pictures_are_real_ones_and_none_twice(real: RealPictures) -> None:
    chosen = herded(real, 4, width=4, epochs=1).pictures
    assert chosen.shape == (3, 4, 3, 8, 8)
    for pictures, theirs in zip(chosen, real.classes, strict=True):
        shown = real.shown(pictures)
        places = [(theirs == one).flatten(1).all(1).nonzero().item() for one in shown]
        assert len(set(places)) == 4


def test_pictures_are_shown_as_they_were_seen(real: RealPictures) -> None:
    seen = torch.cat([real.seen(pictures) for pictures in real.classes])
    assert seen.mean((0, 2, 3)).abs().max() < 1e-4
    assert torch.equal(real.shown(seen), torch.cat(list(real.classes)))
    assert real.shown(torch.full((1, 3, 2, 2), 99.0)).eq(255).all()


SMALL: dict[str, Any] = {"labels": "digit", "per_class": 1, "size": 8, "width": 4, "iterations": 3}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_a_folder_of_class_folders_is_read_as_data(tmp_path: Path) -> None:
    words = ["--labels", "digit", "--per-class", "2", "--way", "random", "--size", "8"]
    assert main(["data", "condense", "digits", *words, "--out", str(tmp_path / "small")]) == 0
    data = load_any(str(tmp_path / "small"))
    assert len(data) == 20
    assert set(data.classes["folder"].names) == set(load_any("digits").classes["digit"].names)


def test_what_was_stopped_goes_on_to_the_same_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    condense("digits", tmp_path / "whole", **SMALL)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        condense("digits", tmp_path / "stopped", **SMALL, on_iteration=stop)
    assert not contents(tmp_path / "stopped")
    told: list[int] = []
    condense("digits", tmp_path / "stopped", **SMALL, on_iteration=lambda done, _: told.append(done))
    assert told == [2, 3]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert not (tmp_path / "whole" / condensing.WORK / "state.safetensors").exists()
    # What is done is not done again.
    monkeypatch.setattr(condensing, "RealPictures", None)
    assert condense("digits", tmp_path / "whole", **SMALL)["three"] == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"labels": "digitt"}, "unknown label 'digitt'.*digit"),
        ({"per_class": 9999}, r"fewer than 9999 pictures to train on, '\w+' only \d+; give --per-class"),
        ({"size": 4}, "pictures of 4 pixels are too small"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        condense("digits", tmp_path, **SMALL | change)


def test_data_without_pictures_folder_of_something_else_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no pictures to condense"):
        condense("glosses", tmp_path / "new", **SMALL)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds something else"):
        condense("digits", tmp_path, **SMALL)
    condense("digits", tmp_path / "small", **SMALL | {"way": "random"})
    with pytest.raises(ValueError, match="its per_class is 1, not 2"):
        condense("digits", tmp_path / "small", **SMALL | {"way": "random", "per_class": 2})


def test_a_folder_whose_plan_was_not_whole_is_begun_again(tmp_path: Path) -> None:
    left = tmp_path / WORK / ".plan.json.elsewhere.1.1.part"
    left.parent.mkdir()
    left.write_text("{")
    condense("digits", tmp_path, **SMALL | {"way": "random"})
    assert any(tmp_path.rglob("*.png"))


def test_a_label_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "condense", "digits", "--out", str(tmp_path / "small")]) != 0
    assert "--labels" in capsys.readouterr().err
