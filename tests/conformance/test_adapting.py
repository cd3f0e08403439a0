"""Properties of every method that adapts a frozen pair to a few labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from method_stubs import RECIPE, TAGS, All, build, loaded, stub_towers
from torch import Tensor

from counterpoint import methods
from counterpoint.methods._adapting import Adapting
from counterpoint.types import Batch, StepInfo, Target

START = StepInfo(0, 10)
ALL = [
    name
    for name in methods.names()
    if isinstance(kind := methods.METHODS.get(name), type) and issubclass(kind, Adapting)
]
NAMES = [name for name in ALL if "classes" in methods.METHODS.get(name).learns]
STARTING = [name for name in NAMES if methods.METHODS.get(name).starts_as_zero_shot]
RENAMING = [name for name in NAMES if methods.METHODS.get(name).renames]
TAGGED = [name for name in ALL if "tags" in methods.METHODS.get(name).learns]
every = pytest.mark.parametrize("name", NAMES)
CLASSES = ("a", "b", "c", "d", "e")
ALONE: dict[str, dict[str, Any]] = {"ctp-tft": {"tuning": False}}
"""Options without which the score of a class depends on the other classes."""

UNCALIBRATED = {"dualcoop"}
"""Methods of tags that compare two prompts and have no intercept."""


def words(name: str) -> dict[str, Any]:
    """Options by which zero-shot reads the same texts as a method that learns words."""
    return {"template": "a small red {}."} if name == "zero-shot" else {}


def built(name: str, classes: tuple[str, ...] = CLASSES, **options: Any) -> Any:
    if name in ("coop", "cocoop", "ctp-tft", "dualcoop", "lmpt"):
        options = {"words": "a small red", **options}
    elif name != "zero-shot":
        options = {"template": "a small red {}.", **options}
    options = {"target": Target("group", classes), **words(name), **options}
    return build(name, **options).eval()


def fitted(name: str, given: Batch, classes: tuple[str, ...] = CLASSES, seed: int = 0, **options: Any) -> Any:
    method = built(name, classes, **options)
    torch.manual_seed(seed)
    with torch.no_grad():
        method.on_epoch_start(All(given), START)
    return method


def scores(method: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return method.logits(method.encode(given), given)


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(built("zero-shot"), 20)


def test_the_methods_are_those_of_the_family() -> None:
    assert {"zero-shot", "linear", "linear-text", "tip-adapter", "coop", "cocoop"} <= set(NAMES)
    assert stub_towers({"text": "text"})  # what they read names by


@pytest.mark.parametrize("name", STARTING)
def test_before_it_is_fitted_it_is_zero_shot(name: str, given: Batch) -> None:
    method, zero = built(name), built("zero-shot")
    with torch.no_grad():
        method.begin()
        zero.begin()
    torch.testing.assert_close(scores(method, given), scores(zero, given), rtol=1e-5, atol=1e-5)


@every
def test_nothing_of_the_pair_moves(name: str, given: Batch) -> None:
    before = built(name)
    after = fitted(name, given)
    pair = ("towers.", "projections.", "objective.")
    states = before.state_dict(), after.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0] if key.startswith(pair))
    assert not any(parameter.requires_grad for parameter in after.parameters())
    if name != "zero-shot":
        moved = [key for key in states[1] if key not in states[0] or not same(states[0][key], states[1][key])]
        assert [key for key in moved if key != "texts"]


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


@every
def test_one_seed_is_one_model(name: str, given: Batch) -> None:
    one, other = fitted(name, given).state_dict(), fitted(name, given).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@every
def test_what_is_saved_is_loaded(name: str, given: Batch) -> None:
    method, other = fitted(name, given), built(name)
    other.load_state_dict(method.state_dict())
    assert torch.equal(scores(other, given), scores(method, given))


@every
def test_other_order_of_names_is_that_of_scores(name: str, given: Batch) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    labels = {**given.labels, "group": order.argsort()[given.labels["group"]]}
    moved = Batch(given.ids, given.views, labels)
    steps = {"epochs": 3} if name not in ("zero-shot", "linear", "lp-plus-plus") else {}
    one = scores(fitted(name, given, **steps), given)
    other = scores(fitted(name, moved, tuple(CLASSES[k] for k in order), **steps), given)
    torch.testing.assert_close(other, one[:, order], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if not methods.METHODS.get(name).unlabelled])
def test_rows_without_a_class_change_nothing(name: str, given: Batch) -> None:
    labels = {**given.labels, "group": given.labels["group"].clone()}
    labels["group"][12:] = -1
    some = given.map(lambda tensor: tensor[:12])
    one, other = fitted(name, some), fitted(name, Batch(given.ids, given.views, labels))
    torch.testing.assert_close(scores(other, given), scores(one, given), rtol=1e-5, atol=1e-5)


@every
def test_classifies_pictures_as_it_scores_their_features(name: str, given: Batch) -> None:
    method = fitted(name, given)
    pictures = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)
    p = method.classify({"image": pictures})
    assert torch.allclose(p.sum(1), torch.ones(7))
    z = method.seen("image", method.inputs["image"](pictures))
    with torch.no_grad():
        expected = method.logits(z, given).softmax(1)
    torch.testing.assert_close(p, expected)


def fitted_to_tags(name: str, given: Batch, **options: Any) -> Any:
    method = built(name, target=TAGS, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(All(given), START)
    return method


@pytest.fixture(scope="module")
def tagged() -> Batch:
    return loaded(build("lmpt"), 20)


@pytest.mark.parametrize("name", TAGGED)
def test_tags_have_a_probability_each(name: str, tagged: Batch) -> None:
    method = fitted_to_tags(name, tagged)
    labels = tagged.labels["tags"]
    known = labels >= 0
    with torch.no_grad():
        p = method.probabilities(method.logits(method.encode(tagged), tagged))
    assert p.shape == labels.shape
    assert not torch.allclose(p.sum(1), torch.ones(len(p)))
    share = (labels == 1).sum() / known.sum()
    if name not in UNCALIBRATED:
        assert abs(float(p[known].mean() - share)) < 0.03
    classified = method.classify({"image": torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)})
    assert classified.shape == (7, 3)


@pytest.mark.parametrize("name", TAGGED)
def test_rows_of_unknown_tags_change_nothing(name: str, tagged: Batch) -> None:
    labels = {**tagged.labels, "tags": tagged.labels["tags"].clone()}
    labels["tags"][12:] = -1
    some = tagged.map(lambda tensor: tensor[:12])
    one, other = fitted_to_tags(name, some), fitted_to_tags(name, Batch(tagged.ids, tagged.views, labels))
    torch.testing.assert_close(scores(other, tagged), scores(one, tagged), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TAGGED)
def test_tags_leave_the_pair_alone_and_are_saved(name: str, tagged: Batch) -> None:
    before, after = built(name, target=TAGS), fitted_to_tags(name, tagged)
    again, states = fitted_to_tags(name, tagged), (before.state_dict(), after.state_dict())
    pair = ("towers.", "projections.", "objective.")
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0] if key.startswith(pair))
    assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in states[1].items())
    before.load_state_dict(states[1])
    assert torch.equal(scores(before, tagged), scores(after, tagged))


@pytest.mark.parametrize("name", RENAMING)
def test_other_names_are_other_classes(name: str, given: Batch) -> None:
    method = fitted(name, given, **ALONE.get(name, {}))
    before = scores(method, given)
    turned = method.renamed(CLASSES[::-1])
    torch.testing.assert_close(scores(turned, given), before.flip(1), rtol=1e-5, atol=1e-5)
    fewer = method.renamed(("cat", "a"))
    assert fewer.target.classes == ("cat", "a")
    torch.testing.assert_close(scores(fewer, given)[:, 1], before[:, 0], rtol=1e-5, atol=1e-5)
    assert torch.equal(scores(method, given), before)


@pytest.mark.parametrize("name", sorted({*NAMES} - {*RENAMING}))
def test_what_learns_of_each_class_knows_no_others(name: str, given: Batch) -> None:
    with pytest.raises(LookupError, match="cannot tell classes apart by names alone"):
        fitted(name, given).renamed(("cat", "hill"))


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        (("a", "a"), {}, "two classes of group are called 'a'"),
        (CLASSES, {"template": "a photo"}, "has no {} in the place of the name"),
        (("a",), {}, "has 1 classes"),
    ],
)
def test_refuses(classes: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("zero-shot", target=Target("group", classes), **options)


def test_names_that_are_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="'cat over the hill' has too many tokens beside 3 vectors"):
        built("coop", ("a", "cat over the hill"))


def test_needs_a_text_tower() -> None:
    towers = stub_towers({"image": "image"})
    with pytest.raises(ValueError, match="ZeroShotPair needs a text tower"):
        methods.create("zero-shot", towers, RECIPE, target=Target("group", CLASSES))
