"""Options of single methods in a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint import recipes
from counterpoint.methods import METHODS, Arm
from counterpoint.methods.options import read
from counterpoint.recipes import override, parse

CAPTIONS = ["a red cat", "the old hill"]
TINY = override(
    recipes.load("cpu"), {"towers.image_size": 24, "towers.vocabulary": 300, "widths.local_hidden": 16}
)


def built(arm: str, options: dict[str, dict[str, Any]]) -> Any:
    return Arm.parse(arm).build(override(TINY, {"options": options}), {"text": CAPTIONS}, seed=0)


@pytest.mark.parametrize("name", recipes.names())
def test_the_options_of_every_recipe_are_options_of_its_methods(name: str) -> None:
    for method, options in recipes.load(name).options.items():
        read(method, METHODS.get(method), {option: str(value) for option, value in options.items()})


def test_text_dropout_is_as_published_for_each_method() -> None:
    published = {"rocket-cc3m": (0.2, 0.2), "rocket-cc12m": (0.05, 0.1)}
    for name, (plain, others) in published.items():
        dropouts = {
            method: it["dropout"] for method, it in recipes.load(name).options.items() if "dropout" in it
        }
        assert dropouts.pop("clip-rocket") == plain
        assert dropouts == dict.fromkeys(
            ("siamlip-rocket", "byolip-rocket", "barlip-rocket", "swalip-rocket"), others
        )


def test_epochs_go_before_the_length_of_a_recipe() -> None:
    changed = override(recipes.load("seconds"), {"epochs": 10})
    assert (changed.steps, changed.epochs, changed.most_passes) == (None, 10, None)
    both = override(recipes.load("cpu"), {"epochs": 10, "most_passes": 3})
    assert (both.steps, both.epochs, both.most_passes) == (None, 10, 3)
    assert override(recipes.load("cpu"), {"epochs": 10, "steps": 7}).steps == 7


@pytest.mark.parametrize("options", [3, {"clip": 3}, {"clip": {"temperature": []}}])
def test_options_of_another_form_are_refused_in_a_line(options: object) -> None:
    with pytest.raises(ValueError, match=r"^recipe: options") as told:
        parse({"options": options})
    assert "\n" not in str(told.value)


def test_arm_states_goes_before_short_name_and_before_recipe() -> None:
    of_recipe = {"siamlip": {"output": 16, "views": 1}, "siamlip-rocket": {"views": 3}}
    assert len(built("siamlip", of_recipe).views) == 2 * (1 + 1)
    assert len(built("siamlip-rocket", of_recipe).views) == 2 * (1 + 3)
    assert len(built("siamlip-rocket,views=2", of_recipe).views) == 2 * (1 + 2)
    assert built("siamlip", of_recipe).term.predictor["global"]["image"][0].in_features == 16
    assert built("clip", of_recipe).heads == ("global",)


def test_prototypes_of_recipe_are_not_for_the_version_without() -> None:
    assert built("swalip", {"swalip": {"prototypes": 12}}).term.prototypes["both"].weight.shape[0] == 12
    assert not hasattr(built("swalip-rocket", {"swalip": {"prototypes": 12}}).term, "prototypes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"siamlpi": {"hidden": 2}},
            "unknown method in the recipe's options 'siamlpi': did you mean 'siamlip'",
        ),
        ({"siamlip": {"hiden": 2}}, "unknown option of siamlip 'hiden': did you mean 'hidden'"),
        ({"siamlip": {"hidden": "wide"}}, "option hidden of siamlip must be a whole number, got 'wide'"),
    ],
)
def test_options_that_no_method_has_are_refused(options: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built("siamlip", options)
