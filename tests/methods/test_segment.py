"""Segment: cross-entropy of known pixels, maps of classes, and what a teacher adds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, SIZE, StubImage, batch, begun, build, ready, run
from torch import Tensor

from counterpoint import methods
from counterpoint.losses.bpkd import BPKDLoss, band
from counterpoint.methods.segment import enlarged
from counterpoint.networks.towers.maps import MapPatches, MapSquare
from counterpoint.raw import UNKNOWN

F64 = torch.float64
TEACHER = build("segment", 50)


def taught(
    distil: str, teacher: Any = TEACHER, classes: tuple[str, ...] | None = None, **options: Any
) -> Any:
    """Return the method with a model as its teacher."""
    maps = MapPatches(MapSquare(SIZE, classes=TEACHER.classes if classes is None else classes))
    towers = ready({"image": StubImage(), "map": maps}, 0)
    with patch("counterpoint.models.load", lambda path: teacher):
        return begun(methods.create("segment", towers, RECIPE, distil=distil, teacher="a run", **options), 0)


def test_unknown_pixels_count_for_nothing() -> None:
    method = build("segment").double()
    given = batch(method, 4, dtype=F64)
    labels = given["map"].clone()
    labels[:, :3], labels[2] = UNKNOWN, UNKNOWN
    given = replace(given, views={**given.views, "map": labels})
    losses = run(method, given)
    assert list(losses) == ["cross_entropy"]
    likelihood = enlarged(method.logits(given["image"]), (SIZE, SIZE)).log_softmax(1)
    terms = [
        -likelihood[b, int(labels[b, y, x]), y, x]
        for b in range(4)
        for y in range(SIZE)
        for x in range(SIZE)
        if labels[b, y, x] != UNKNOWN
    ]
    torch.testing.assert_close(losses["cross_entropy"], torch.stack(terms).mean())
    nothing = replace(given, views={**given.views, "map": torch.full_like(labels, UNKNOWN)})
    assert run(method, nothing)["cross_entropy"] == 0


def divergence(teacher: Tensor, student: Tensor, dim: int, t: float) -> Tensor:
    p, q = ((z / t).softmax(dim) for z in (teacher, student))
    return t * t * (p * (p.log() - q.log())).sum(dim).flatten(1).mean()


@pytest.mark.parametrize("distil", ["pixel", "channel", "bpkd"])
def test_a_teacher_adds_the_divergence_of_its_logits(distil: str) -> None:
    method = taught(distil, temperature=2.0).double()
    given = batch(method, 4, dtype=F64)
    student, teacher = method.logits(given["image"]), TEACHER.double().logits(given["image"])
    expected = {
        "pixel": 3 * divergence(teacher, student, 1, 2.0),
        "channel": 3 * divergence(teacher.flatten(2), student.flatten(2), 2, 2.0),
        "bpkd": BPKDLoss(2.0)(student, teacher, given["map"].long()),
    }
    losses = run(method, given)
    torch.testing.assert_close(losses[distil], expected[distil])
    torch.testing.assert_close(
        losses["cross_entropy"], run(build("segment").double(), given)["cross_entropy"]
    )
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for p in TEACHER.parameters())
    assert not any("teacher" in name for name in method.state_dict())
    TEACHER.float()


def test_no_weight_of_what_a_teacher_adds_is_the_plain_method() -> None:
    given = batch(build("segment"), 4)
    plain = sum(run(build("segment"), given).values())
    for distil in ("pixel", "channel", "bpkd"):
        method = taught(distil, weight=0.0, edge=0.0, body=0.0)
        assert torch.equal(sum(run(method, given).values()), plain)


def test_maps_of_classes_of_any_pictures() -> None:
    method = build("segment")
    pictures = torch.randint(256, (3, 3, 20, 30), dtype=torch.uint8)
    maps = method.segment(pictures)
    assert maps.shape == (3, 20, 20)
    assert maps.max() < len(method.classes)
    assert method.training is False or method.train().segment(pictures).equal(maps)
    with pytest.raises(ValueError, match="predicts map and has no map embeddings"):
        method.embed("map", torch.zeros(1, 4, 4, dtype=torch.uint8))


def test_a_pixel_is_in_the_band_of_both_classes_at_a_border() -> None:
    labels = torch.zeros(1, 6, 8, dtype=torch.long)
    labels[:, :, 4:] = 1
    labels[0, 0, 3] = UNKNOWN
    near = band(labels, 3, 1)
    assert near[0, 0, 2:].equal(near[0, 1, 2:]), "there is no third class at this border"
    assert near[0, 2].sum() == 0
    assert near[0, 0, 3].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert near[0, 0, 0, 3] == 0, "it is unknown"


def test_the_mask_comes_before_the_softmax() -> None:
    """Where no class is near a border, the logits are 0 on both sides and the divergence is 0."""
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    student, teacher = torch.randn(2, 1, 3, 2, 2)
    whole = F.kl_div(
        (student / 4).flatten(2).log_softmax(2),
        (teacher / 4).flatten(2).log_softmax(2),
        reduction="sum",
        log_target=True,
    )
    expected = 20 * 16 * whole / 3
    torch.testing.assert_close(BPKDLoss()(student, teacher, labels), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distil": "bpkd", "teacher": build("siglip", 50)}, "is no run of segment with the classes"),
        ({"distil": "bpkd", "classes": ("a", "b")}, "is no run of segment with the classes"),
        ({"distil": "none"}, "give both, or neither"),
        ({"distil": "bpkd", "classes": ()}, "the maps of map hold numbers"),
    ],
)
def test_what_is_no_teacher_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        taught(**options)
