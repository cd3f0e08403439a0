"""The material and the mathematics of the claims about descriptions, robustness and simplicity bias."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.words.descriptions import differences
from counterpoint.data.views.time_series import SERIES_VIEWS
from counterpoint.evaluation.subclasses import Subclasses
from counterpoint.losses import InfoNCELoss
from counterpoint.networks.towers.series import Standardised
from counterpoint_reproductions import cl_simplicity_bias, fudd, mmcl_robustness
from counterpoint_reproductions.lab import data_bits as bits
from counterpoint_reproductions.lab import data_looks as seen

RNG = np.random.default_rng


def test_kinds_of_a_thing_differ_in_two_traits_and_share_two() -> None:
    looks, described = seen.kinds(3)
    assert Counter(look.concept for look in looks) == dict.fromkeys(seen.CONCEPTS, seen.KINDS)
    assert len({each.name for each in described}) == len(looks)
    for group, pair in enumerate(seen.PAIRS):
        own = looks[group * seen.KINDS : (group + 1) * seen.KINDS]
        values = [len({look.values[t] for look in own}) for t in range(4)]
        assert values == [2 if t in pair else 1 for t in range(4)]


def test_as_many_sentences_are_said_at_random_as_of_what_differs() -> None:
    _, described = seen.kinds(0)
    arms = fudd.others(described, 0)
    kin = tuple(range(seen.KINDS))
    known = [
        {d.first for other in kin if other != c for d in differences(described[c], described[other])}
        for c in kin
    ]
    at_random = arms["random"](kin)
    assert [len(said) for said in at_random] == [len(said) for said in known]
    assert at_random == arms["random"](kin)
    assert all(
        set(said) <= set(everything) for said, everything in zip(at_random, arms["all"](kin), strict=True)
    )
    shared = {sentence for said in arms["shared"](kin) for sentence in said}
    assert not shared & set.union(*known)
    assert len(shared) == 2 * len(kin)
    strangers = arms["shared"]((0, seen.KINDS * len(seen.CONCEPTS) - 1))
    assert all(said for said in strangers)


def test_things_look_as_their_captions_say() -> None:
    rng = RNG(1)
    for look in seen.kinds(1)[0]:
        (thing,) = seen.scene(look, rng).things
        assert (thing.concept, thing.colour, thing.size) == (look.concept, *look.values[:2])
        assert (thing.x < 400) == (look.values[2] == "on the left")
        assert (thing.y < 400) == (look.values[3] == "at the top")
        assert min(thing.box) >= 0
        assert max(thing.box) <= 1000
        words = seen.caption(look, rng).removeprefix("a picture of a ").split(", which is ")
        assert words[0] in (look.concept, *(f"{odd} {look.concept}" for odd in seen.OTHER_NAMES))
        assert set("".join(words[1:]).split(" and ")) <= {*look.values, ""}


def test_negatives_of_the_own_class_count_for_nothing() -> None:
    x, y = torch.nn.functional.normalize(torch.randn(2, 5, 3, dtype=torch.float64), dim=-1)
    classes = torch.tensor([0, 1, 0, 1, 2])
    infonce = InfoNCELoss(0.5).double()
    total = 0.0
    for i in range(5):
        others = [j for j in range(5) if classes[j] != classes[i] or j == i]
        own = float(x[i] @ y[i]) / 0.5
        total -= own - np.log(sum(np.exp(float(x[i] @ y[j]) / 0.5) for j in others))
        total -= own - np.log(sum(np.exp(float(x[j] @ y[i]) / 0.5) for j in others))
    found = mmcl_robustness.without_own_class(infonce, x, y, classes)
    assert float(found) == pytest.approx(total / 10)
    alone = mmcl_robustness.without_own_class(infonce, x, y, torch.arange(5))
    assert torch.allclose(alone, infonce(x, y))
    together = mmcl_robustness.without_own_class(infonce, x, y, torch.zeros(5, dtype=torch.long))
    assert float(together) == 0


def test_concepts_by_turns_have_the_background_of_their_class() -> None:
    concepts = mmcl_robustness.things()
    classes = mmcl_robustness.CLASSES
    assert len(set(concepts)) == len(concepts) == len(classes) * mmcl_robustness.PER_CLASS
    assert [CONCEPTS[name].kind for name in concepts] == list(classes) * mmcl_robustness.PER_CLASS
    assert len(set(mmcl_robustness.class_captions())) == len(classes)


def test_captions_tell_the_thing_and_never_the_background() -> None:
    data = mmcl_robustness.biased("train", 60)
    assert data.pictures.shape == (60, 3, mmcl_robustness.SIDE, mmcl_robustness.SIDE)
    for text, k in zip(data.rich, data.classes, strict=True):
        (name,) = (name for name in mmcl_robustness.things() if text.endswith(f" {name}"))
        assert CONCEPTS[name].kind == mmcl_robustness.CLASSES[k]


def test_captions_of_a_world_tell_the_share_that_is_asked_for() -> None:
    for world in mmcl_robustness.WORLDS.values():
        told = mmcl_robustness.telling(world, 0.25)
        assert (
            replace(
                told,
                **{
                    name: 1.0
                    for name in ("caption_rate", "core_told", "spurious_told")
                    if hasattr(told, name)
                },
            )
            == world
        )


def test_supervision_pulls_examples_of_a_class_to_their_mean() -> None:
    data = Subclasses(dimension=8).sample(80, RNG(2))
    (both,) = (cl_simplicity_bias.pulls(data, 1.0),)
    assert len(both) == 1
    assert np.linalg.matrix_rank(both[0].positive) <= 2
    joint = cl_simplicity_bias.pulls(data, 0.7)
    assert [pull.weight for pull in joint] == [0.7, pytest.approx(0.3)]
    np.testing.assert_allclose(joint[1].second - joint[1].positive, 0.25 / 8 * np.eye(8))


def test_a_noisy_probe_does_not_find_a_trace() -> None:
    world = Subclasses(dimension=10)
    whole, trace = np.eye(10)[:2], np.diag([1.0, 1e-3]) @ np.eye(10)[:2]
    assert min(cl_simplicity_bias.found_in(whole, world, 0, 2000)) > 0.95
    of_class, within = cl_simplicity_bias.found_in(trace, world, 0, 2000)
    assert of_class > 0.95
    assert abs(within - 0.5) < 0.05


def test_both_views_share_their_bits_and_nothing_else() -> None:
    rows = np.arange(40)
    one, two = (bits.EIGHT.read(half, rows) for half in bits.HALVES)
    views = [
        SERIES_VIEWS["weak"](half, rows.astype(np.uint64), Standardised.fit([one], 1000))
        for half in (one, two)
    ]
    assert one.channels[6:] == tuple(f"bit {number}" for number in range(1, 9))
    signs = one.measured[:, :1, 6:]
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert (one.measured[..., 6:] == signs).all()
    assert (two.measured[..., 6:] == signs).all()
    assert not torch.equal(one.measured[..., :6], two.measured[..., :6])
    # Training sees views, in which the signs are still to be read.
    for view in views:
        assert torch.equal(view[..., 6:].nanmean(1).sign(), signs[:, 0])
    found = bits.EIGHT.labels[bits.FIRST_BIT].values[rows]
    assert (2 * found - 1).tolist() == signs[:, 0, 0].tolist()


def test_recordings_are_the_same_with_and_without_bits() -> None:
    rows, half = np.arange(5, 15), bits.HALVES[1]
    none, four, eight = (data.read(half, rows).measured for data in (bits.NONE, bits.FOUR, bits.EIGHT))
    assert none.shape[2] == 6
    assert torch.equal(four[..., :6], none)
    assert torch.equal(eight[..., :10], four)
    whole = bits.NONE.world.read(bits.DEVICE, rows).measured
    assert torch.equal(torch.cat([bits.NONE.read(name, rows).measured for name in bits.HALVES], 1), whole)
