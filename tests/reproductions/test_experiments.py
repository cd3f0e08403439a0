"""The parts that single experiments are made of."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.labels import Classes
from counterpoint.methods.arm import Arm
from counterpoint_reproductions import align, align_uniform, clip_rocket, naive_bayes_linear_eval, siglip
from counterpoint_reproductions.lab import Score, exact
from counterpoint_reproductions.lab.towers import tiny
from fixtures.tiny import Oracle, TinyData

CAPTIONS = ["a hand", "a person with a dog"]


@pytest.fixture(scope="module")
def passes() -> dict[str, dict[str, float]]:
    arms = {*clip_rocket.BASIC.values(), *clip_rocket.IMPROVED.values(), *clip_rocket.ABLATION.values()}
    return {
        arm: Arm.parse(arm).build(tiny(), {"text": CAPTIONS}, 0).passes()
        for arm in (*arms, clip_rocket.PLAIN)
    }


def test_arms_of_clip_rocket_make_equal_passes_but_byolip_twice(
    passes: dict[str, dict[str, float]],
) -> None:
    plain = passes.pop(clip_rocket.PLAIN)
    assert plain == {"image": 1, "text": 1}
    for arm, counts in passes.items():
        copies = 2 if arm.startswith("byolip") else 1
        assert counts == {"image": 3 * copies, "text": 3 * copies}, arm


def test_the_ablation_adds_one_part_at_a_time() -> None:
    views, heads, smoothing = [], [], []
    for arm in clip_rocket.ABLATION.values():
        method = Arm.parse(arm).build(tiny(), {"text": CAPTIONS}, 0)
        views.append(tuple(view.augmentation for view in method.views.values()))
        heads.append(method.heads)
        smoothing.append(method.objective.local.label_smoothing)  # type: ignore[union-attr, operator]
    weak, plain, strong = "weak", "plain", "strong"
    assert views[0] == (weak, plain, weak, weak, plain, plain)
    assert views[1] == (weak, plain, strong, strong, plain, plain)
    assert views[2] == views[3] == views[4] == (weak, weak, strong, strong, strong, strong)
    assert heads == [("global",)] * 3 + [("global", "local")] * 2
    assert smoothing == [0.0, 0.0, 0.0, 0.0, 0.1]


def test_the_advantage_is_that_of_the_best_extra_loss() -> None:
    values = {"basic/clip": 0.5, "basic/siamlip": 0.55, "basic/best": 0.6, "improved/clip": 0.9}
    values |= {"improved/siamlip": 0.85, "improved/best": 0.8}

    def score(name: str) -> Score:
        return exact(values.get(name, 0.0), "accuracy", name)

    assert clip_rocket.advantage(score, "basic").measure().estimate == pytest.approx(0.1)
    assert clip_rocket.advantage(score, "improved").measure().estimate == pytest.approx(-0.1)
    assert clip_rocket.gain(score).measure().estimate == pytest.approx(0.4)


@pytest.mark.parametrize("kappa", [0.5, 2.0, 10.0])
def test_the_limit_on_the_sphere_in_three_dimensions(kappa: float) -> None:
    assert align_uniform.log_mean_exp(kappa, 3) == pytest.approx(math.log(math.sinh(kappa) / kappa))


def test_the_limit_is_the_mean_over_random_unit_vectors() -> None:
    z = align_uniform._unit(np.random.default_rng(0), 400_000)
    assert np.linalg.norm(z, axis=1) == pytest.approx(1.0)
    mean = math.log(np.exp(2 * z[:, 0]).mean())
    assert mean == pytest.approx(align_uniform.log_mean_exp(2.0, align_uniform.DIMENSIONS), abs=5e-3)


def test_many_negatives_come_near_the_limit() -> None:
    few, many = align_uniform.limit([16, 1024], 512, seed=0)["deviation"]
    assert many < 0.2 * few  # 64 times as many: an eighth


def test_tiles_change_nothing_and_bound_the_largest_tensor() -> None:
    error, growth = siglip.tiles(256, 8, [32, 64, 128])
    assert error < 1e-13
    assert growth == pytest.approx(1)


def test_naive_bayes_needs_few_examples_where_assumption_holds() -> None:
    few = naive_bayes_linear_eval.needed("naive Bayes", 20, 1, 0)["examples"]
    many = naive_bayes_linear_eval.needed("logistic regression", 20, 1, 0)["examples"]
    assert few < 100
    assert many > few


def test_balanced_choice_as_many_of_class_as_rarest_and_fixed() -> None:
    classes = np.array([0] * 50 + [1] * 7 + [2] * 20)
    chosen = naive_bayes_linear_eval.balanced(np.arange(5, 77), classes)
    assert Counter(classes[chosen].tolist()) == {0: 7, 1: 7, 2: 7}
    assert len(set(chosen.tolist())) == 21
    assert min(chosen) >= 5
    assert chosen.tolist() == naive_bayes_linear_eval.balanced(np.arange(5, 77), classes).tolist()


class Toned(TinyData):
    """Names like those of emoji: what it is, a colon, the tone."""

    def __init__(self) -> None:
        super().__init__()
        tone = self.labels["tone"]
        self.labels = {"tone": Classes(tone.names, tone.values)}

    def captions(self, row: int) -> list[str]:
        shape, colour, size = self._combinations[row]
        return [f"{size} {shape}: {colour}"]


def test_adding_name_of_a_tone_finds_the_picture_in_that_tone() -> None:
    data = Toned()
    tones = data.labels["tone"]
    bases = sorted({data.captions(row)[0].split(":")[0] for row in range(len(data))})
    what = np.array([bases.index(data.captions(row)[0].split(":")[0]) for row in range(len(data))])
    axes = torch.eye(len(bases) + len(tones.names))
    toned = tones.values >= 0
    images = axes[what] + 0.5 * torch.where(
        torch.from_numpy(toned)[:, None], axes[len(bases) + np.maximum(tones.values, 0)], torch.zeros(1)
    )
    texts = {name: axes[len(bases) + k] for k, name in enumerate(tones.names)}
    rows = np.flatnonzero(toned)
    model = Oracle(data, F.normalize(images, dim=1), texts)
    found = align.added_tone(EmbeddingCache(model, data), data, rows)
    assert len(found) == len(rows) * (len(tones.names) - 1)
    assert found[:, 0].mean() == 1.0
    # Alone, the picture is as near to each of the three other tones: one of them is right.
    assert found[:, 1].mean() == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["equal", "whitened", "natural"])
def test_errors_of_both_classifiers_by_training_size(kind: str) -> None:
    found = naive_bayes_linear_eval.curves("", kind, [2, 4], subsets=2)
    for classifier in ("naive_bayes", "logistic"):
        assert found[classifier].shape == (2, 2)
        assert ((found[classifier] > 0) & (found[classifier] < 1)).all()
