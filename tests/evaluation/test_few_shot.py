from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestCentroid

from counterpoint.data import Splits
from counterpoint.evaluation import create, evaluate
from counterpoint.evaluation.task import NotApplicableError, check_data
from counterpoint.evaluation.tasks import FewShot
from fixtures.tiny import Oracle, Pixels, TinyData, TraitsData


def test_episode_nearest_centroids_answer_classes_no_training() -> None:
    data = TinyData()
    shape = data.labels["subgroup"].values
    data.splits = Splits(np.flatnonzero(shape < 2), {}, {"unseen": np.flatnonzero(shape >= 2)})
    images = F.normalize(torch.randn(70, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    images = F.normalize(images + torch.eye(7)[shape][:, :6], dim=1)
    model, rows = Oracle(data, images, {}), data.splits.test["unseen"]
    task = create("few_shot", labels=("subgroup",), ways=3, shots=(2, 9, 10), queries=4, episodes=40)
    scores = task(model, data, rows)
    assert set(scores.metrics) == {f"subgroup_3way_{k}shot" for k in (2, 9, 10)}
    assert task.main_metrics(data) == ("subgroup_3way_2shot",)
    assert (
        scores.examples["subgroup_3way_10shot"].null_count() == 40
    )  # ten rows of a class, none left to be asked
    for episode, found in enumerate(scores.examples["subgroup_3way_2shot"]):
        rng = np.random.default_rng([episode, 2])
        classes = [np.flatnonzero(shape[rows] == k) for k in range(2, 7)]
        drawn = [rng.permutation(classes[k]) for k in rng.choice(5, 3, replace=False)]
        z = [images[rows[of_class]].double().numpy() for of_class in drawn]
        centroids = NearestCentroid().fit(np.concatenate([of[:2] for of in z]), np.repeat(range(3), 2))
        predicted = centroids.predict(np.concatenate([of[2:6] for of in z]))
        assert found == pytest.approx(np.mean(predicted == np.repeat(range(3), 4)))
    assert 1 / 3 < scores.value("subgroup_3way_2shot") <= scores.value("subgroup_3way_9shot")
    assert scores.metrics["subgroup_3way_2shot"].chance == 1 / 3


def test_episodes_follow_the_ids_and_not_the_order_of_the_rows() -> None:
    data = TinyData()
    shape = data.labels["subgroup"].values
    data.splits = Splits(np.flatnonzero(shape < 2), {}, {"unseen": np.flatnonzero(shape >= 2)})
    images = F.normalize(torch.randn(70, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    task, rows = create("few_shot", labels=("subgroup",), ways=3, shots=(1, 4), episodes=30), data.splits.test
    scores = task(Oracle(data, images, {}), data, rows["unseen"])
    other = np.random.default_rng(5).permutation(rows["unseen"])
    assert other.tolist() != rows["unseen"].tolist()
    assert task(Oracle(data, images, {}), data, other).examples.equals(scores.examples)


def test_a_class_with_one_training_row_is_seen() -> None:
    data = TinyData()
    shape = data.labels["subgroup"].values
    held_out = np.flatnonzero(shape >= 2)
    data.splits = Splits(np.flatnonzero(shape < 2), {}, {"unseen": held_out})
    task = create("few_shot", labels=("subgroup",), ways=5, episodes=5)
    check_data(task, data)  # five classes without a training row
    data.splits = Splits(np.append(data.splits.train, held_out[0]), {}, {"unseen": held_out[1:]})
    with pytest.raises(NotApplicableError, match="has 4 of subgroup"):
        check_data(task, data)


def test_seen_classes_and_classes_of_one_row_make_no_episode() -> None:
    data = TraitsData()
    check_data(create("few_shot"), data)
    with pytest.raises(
        NotApplicableError, match=r"needs 6 classes of a label .* has 0 of group, 1 of subgroup, .* 5 of look"
    ):
        check_data(create("few_shot", ways=6), data)
    with pytest.raises(NotApplicableError, match="each with 3 rows of a test set"):
        check_data(create("few_shot", shots=(2,)), data)
    with pytest.raises(ValueError, match="got ways=1"):
        create("few_shot", ways=1)


def test_refusal_counts_classes_of_rows_that_were_asked_about() -> None:
    data = TraitsData()
    with pytest.raises(NotApplicableError, match="'tiny' has 0 of look"):
        create("few_shot", ways=2, shots=(1,))(Pixels(), data, data.splits.train)


def test_ways_and_shots_are_written_behind_commas() -> None:
    task = create("few_shot,labels=subgroup,ways=3,shots=2/9,episodes=4")
    assert isinstance(task, FewShot)
    assert (task.labels, task.ways, task.shots, task.episodes) == (("subgroup",), 3, (2, 9), 4)
    data = TinyData()
    shape = data.labels["subgroup"].values
    data.splits = Splits(np.flatnonzero(shape < 2), {}, {"unseen": np.flatnonzero(shape >= 2)})
    z = F.normalize(torch.randn(70, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    results = evaluate(Oracle(data, z, {}), data, tasks=(task.name, "few_shot,ways=2"))
    found = {scores.task: set(scores.metrics) for scores in results.by_test["unseen"]}
    assert found[task.name] == {"subgroup_3way_2shot", "subgroup_3way_9shot"}
    assert "subgroup_2way_1shot" in found["few_shot,ways=2"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("few_shot,way=3", "unknown option of few_shot 'way': did you mean 'ways'"),
        ("few_shot,ways=many", "option ways of few_shot must be"),
        ("few_shot,shots=0", "at least one shot"),
        ("few_shots,ways=3", "did you mean 'few_shot'"),
        ("few_shot,ways", "write name=value"),
    ],
)
def test_options_that_say_nothing_are_refused(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        create(written)
