"""Concept association bias: shares, index, calibration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.evaluation import create
from counterpoint.evaluation.tasks.concept_association_bias import (
    ConceptAssociationBias,
)
from counterpoint.types import Scores
from fixtures.hand_made import Blind, HandAssociations, ItemData, SimilarityTable

COLOURS = ("red", "yellow", "green", "purple", "orange")


def prompts(thing: str) -> list[str]:
    return [f"In this picture, the color of the {thing} is {colour}." for colour in COLOURS]


def data() -> ItemData:
    """A lemon alone, a plum alone, and both together, asked about each."""
    things = [("lemon",), ("plum",), ("lemon", "plum"), ("plum", "lemon")]
    return ItemData(HandAssociations([prompts(t[0]) for t in things], [1, 3, 1, 3], [-1, -1, 3, 1], things))


def score(said: list[dict[str, float]], scale: float = 100.0) -> Scores:
    """The scores of a model with these similarities of colour words, by picture."""
    table = {
        prompt: torch.tensor([own.get(colour, 0.0) for own in said])
        for thing in ("lemon", "plum")
        for prompt, colour in zip(prompts(thing), COLOURS, strict=True)
    }
    return ConceptAssociationBias(scale)(SimilarityTable(table), data(), np.arange(2))


ALONE = [{"yellow": 0.5}, {"purple": 0.5}]


def test_a_model_that_binds_says_the_own_colour() -> None:
    found = score([*ALONE, {"yellow": 0.5, "purple": 0.3}, {"purple": 0.5, "yellow": 0.3}])
    assert [found.value(m) for m in ("alone", "own", "other", "third", "cab")] == [1, 1, 0, 0, 0]


def test_a_bag_of_concepts_says_the_others() -> None:
    """A prompt that names the lemon is completed by what the plum brings: purple."""
    found = score([*ALONE, {"yellow": 0.3, "purple": 0.5}, {"purple": 0.3, "yellow": 0.5}])
    assert [found.value(m) for m in ("alone", "own", "other", "third", "cab")] == [1, 0, 1, 0, 1]
    assert found.value("cab_soft") > 0.999


def test_a_third_colour_is_ignorance_and_no_bias() -> None:
    found = score([*ALONE, {"red": 0.9}, {"green": 0.9}])
    assert [found.value(m) for m in ("own", "other", "third", "cab")] == [0, 0, 1, 0.5]


def test_the_soft_index_is_the_odds_of_the_two_colours() -> None:
    found = score([*ALONE, {"yellow": 0.5, "purple": 0.3}, {"purple": 0.5, "yellow": 0.6}], scale=10)
    p = [np.exp(3) / (np.exp(3) + np.exp(5)), np.exp(6) / (np.exp(5) + np.exp(6))]
    assert found.value("cab_soft") == pytest.approx(np.mean(p), abs=1e-6)


def test_a_blind_model_scores_chance_everywhere() -> None:
    found = create("concept_association_bias")(Blind(), data(), np.arange(2))
    for name in ("alone", "own", "other", "third", "cab", "cab_soft"):
        assert found.value(name) == pytest.approx(found.metrics[name].chance), name


def test_calibration_takes_away_a_liking_for_a_word() -> None:
    """A model that always leans to purple looks biased about lemons; what no lemon or plum shows tells."""
    things = [("lemon", "plum"), ("plum", "lemon"), ("pear",), ("pear",)]
    items = HandAssociations([prompts(t[0]) for t in things], [1, 3, 2, 2], [3, 1, -1, -1], things)
    leaning = [{"yellow": 0.4, "purple": 0.6}, {"yellow": 0.1, "purple": 0.9}, *[{"purple": 0.5}] * 2]
    table = {
        prompt: torch.tensor([own.get(colour, 0.0) for own in leaning])
        for thing in ("lemon", "plum", "pear")
        for prompt, colour in zip(prompts(thing), COLOURS, strict=True)
    }
    found = ConceptAssociationBias()(SimilarityTable(table), ItemData(items), np.arange(2))
    assert (found.value("own"), found.value("other")) == (0.5, 0.5)
    assert (found.value("own_calibrated"), found.value("other_calibrated")) == (1, 0)
    assert found.value("alone") == 0  # the pears are said to be purple


def test_without_pictures_of_neither_thing_there_no_calibration() -> None:
    found = score([*ALONE, {"yellow": 0.5}, {"purple": 0.5}])
    assert np.isnan(found.value("cab_calibrated"))


def test_pairs_need_two_colours() -> None:
    alone = HandAssociations([prompts("lemon")], [1], [-1], [("lemon",)])
    same = HandAssociations([prompts("lemon")], [1], [1], [("lemon", "banana")])
    for items in (alone, same):
        with pytest.raises(ValueError, match="needs pictures of two things, with different attributes"):
            ConceptAssociationBias()(Blind(), ItemData(items), np.arange(2))
