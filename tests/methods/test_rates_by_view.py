"""A rate of dropout for each view: SupCL-Seq's views of a text, and cross-entropy on the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, RECIPE, StubImage, StubText, batch, build, run
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import SupConLoss
from counterpoint.methods import Arm
from counterpoint.methods.cross_entropy import CrossEntropy
from counterpoint.methods.options import read
from counterpoint.networks.mixup import PARTNER, SHARE
from counterpoint.types import StepInfo

RATES, WRITTEN = (0.1, 0.0, 0.05, 0.2), "0.1+0+0.05+0.2"
START = StepInfo(0, 10)


class Dropping(StubImage):
    """A tower of pictures with a dropout layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Dropout(0.1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.last(super().forward(pictures))


class Layered(StubText):
    """A text tower with dropout layers of its own, as those of libraries have them."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.fails = nn.Dropout(0.1), nn.Dropout(0.3), fails
        self.seen: list[tuple[float, float]] = []

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        assert dropout == 0.0
        self.seen.append((self.first.p, self.second.p))
        if self.fails and len(self.seen) == 3:
            raise RuntimeError("out of memory")
        return self.second(super().forward(self.first(self.words(tokens)).argmax(-1)))


def layered(**options: Any) -> Any:
    tower = Layered(options.pop("fails", False))
    return methods.create("supcon", {"text": tower}, RECIPE, dropout=RATES, **options).train(), tower


def test_every_view_has_its_rate() -> None:
    method = build("supcon", on="text", dropout=RATES).train()
    assert list(method.views) == ["text.1", "text.2", "text.3", "text.4"]
    given = batch(method)
    method.encode(given)
    assert tuple(method.text_tower.dropouts) == RATES


def test_an_arm_says_the_rates_between_plus_signs() -> None:
    arm = Arm.parse("supcon,on=text,dropout=0.1+0+0.05+0.2,temperature=0.05")
    options = read(arm.method, SupConLoss, arm.options)
    assert options == {"dropout": RATES, "temperature": 0.05}
    assert build("supcon", on="text", **options).by_view == RATES
    assert build("supcon", on="text", **read("supcon", SupConLoss, {"dropout": "0.3"})).dropout == 0.3


def test_layers_of_tower_have_rate_of_each_view_and_then_own() -> None:
    method, tower = layered()
    method.encode(batch(method))
    # Set every time: 0.1 after another rate is 0.1 again.
    assert tower.seen == [(rate, rate) for rate in RATES]
    assert (tower.first.p, tower.second.p) == (0.1, 0.3)


def test_one_rate_is_that_of_layers_of_a_tower_which_takes_none() -> None:
    class LayeredImage(StubImage):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.seen = nn.Dropout(0.1), list[float]()

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(self.drop.p)
            return self.drop(super().forward(images))

    for options, rate in (({"dropout": 0.3}, 0.3), ({}, 0.1), ({"dropout": 0.0}, 0.1)):
        tower = LayeredImage()
        method = methods.create("supcon", {"image": tower}, RECIPE, **options).train()
        method.encode(batch(method))
        assert tower.seen == [rate, rate]


def test_layers_have_their_own_rates_again_after_an_error() -> None:
    method, tower = layered(fails=True)
    with pytest.raises(RuntimeError, match="out of memory"):
        method.encode(batch(method))
    assert tower.seen[-1] == (0.05, 0.05)
    assert (tower.first.p, tower.second.p) == (0.1, 0.3)


def test_the_view_without_dropout_is_what_evaluation_sees() -> None:
    method, tower = layered()
    given = batch(method)
    z = method.encode(given)
    assert not torch.equal(z["text.4"], tower.eval()(given["text.4"]))
    assert torch.equal(z["text.2"], tower(given["text.2"]))


def test_loss_is_that_of_all_views_with_the_classes_of_the_data() -> None:
    method = build("supcon", on="text", dropout=RATES, temperature=0.05).eval()
    given = batch(method)
    z = [F.normalize(method.projections["text"](f), dim=1) for f in method.encode(given).values()]
    expected = SupConLoss(0.05)(*z, labels=given.labels["group"])
    torch.testing.assert_close(run(method, given)["supcon"], expected)


@pytest.mark.parametrize(
    ("towers", "options", "message"),
    [
        (
            {"text": StubText},
            {"dropout": (0.1, 0.2), "views": 3},
            r"dropout=0.1\+0.2 has 2 rates for 3 views",
        ),
        ({"text": StubText}, {"dropout": (0.0, 0.1, 0.0)}, "two views without dropout are equal"),
        ({"image": StubImage}, {"dropout": (0.0, 0.1)}, "the image tower .* has no dropout"),
        ({"image": StubImage, "text": StubText}, {"dropout": (0.0, 0.1)}, "for one column, on=COLUMN"),
        ({"text": StubText}, {"dropout": (0.0, 1.5)}, r"dropout=0\+1.5: rates lie between 0 and 1"),
        ({"image": StubImage}, {"dropout": 0.3}, "the image tower .* has no dropout"),
        ({"image": StubImage, "text": StubText}, {"dropout": 0.3}, "dropout=0.3: dropout is for one column"),
    ],
)
def test_rates_that_cannot_be_are_refused(
    towers: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    built = {column: tower() for column, tower in towers.items()}
    with pytest.raises(ValueError, match=message):
        methods.create("supcon", built, RECIPE, **options)


def test_a_rate_in_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"option dropout of supcon must be a number, got '0.1.a'"):
        read("supcon", SupConLoss, {"dropout": "0.1+a"})


# Class scores


def test_cross_entropy_is_the_mean_over_views_under_their_rates() -> None:
    method = build("cross-entropy", on="text", **read("cross-entropy", CrossEntropy, {"dropout": WRITTEN}))
    given = batch(method)
    assert list(given.views) == ["text.1", "text.2", "text.3", "text.4"]
    assert method.passes() == {"text": 4}
    z = method.train().encode(given)
    assert tuple(method.text_tower.dropouts) == RATES
    of_views = [F.cross_entropy(method.head.scores(z[name]), given.labels["group"]) for name in given.views]
    loss = method.losses(z, given, START)["cross_entropy"]
    torch.testing.assert_close(loss, torch.stack(of_views).mean())


def test_single_rate_of_one_view_none_leaves_cross_entropy_as() -> None:
    method, plain = (build("cross-entropy", on="text", dropout=rate) for rate in (0.2, 0.0))
    assert list(plain.views) == ["text"]
    given = batch(method)
    method.train().encode(given)
    assert method.text_tower.dropouts == [0.2]
    assert torch.equal(method.classify(["a cat"]), plain.classify(["a cat"]))


@pytest.mark.parametrize(
    ("on", "rates", "message"),
    [
        ("text", (0.0, 0.0), "two views without dropout are equal"),
        ("text", (1.5,), r"dropout=1\.5: rates lie between 0 and 1"),
        ("images", (0.1,), "the image tower .* has no dropout"),
    ],
)
def test_cross_entropy_refuses_rates_that_cannot_be(on: str, rates: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("cross-entropy", on=on, dropout=rates)


def test_blends_are_of_the_same_two_examples_in_every_view() -> None:
    method = methods.create(
        "cross-entropy", {"image": Dropping()}, RECIPE, target=FIVE, mixup=0.5, dropout=(0.0, 0.3)
    ).eval()
    given = batch(method, 12)
    share = given.labels[SHARE]
    costs = [
        F.cross_entropy(method.head.scores(z), labels, reduction="none") * weight
        for z in method.encode(given).values()
        for labels, weight in (
            (given.labels["group"], share),
            (given.labels[PARTNER + "group"], 1 - share),
        )
    ]
    torch.testing.assert_close(run(method, given)["cross_entropy"], torch.stack(costs).sum(0).mean() / 2)
