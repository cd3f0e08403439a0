"""Late fusion: what stands in for what is missing, modality dropout, classes of raw inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, LATE, RECIPE, ThroughImage, ThroughText, batch, build, features, run, total
from torch import Tensor

from counterpoint import methods
from counterpoint.evaluation import evaluate
from counterpoint.methods._prediction import _say_without, joined
from counterpoint.methods._running import RunningMap, RunningMean
from counterpoint.methods.late import Late, filled
from counterpoint.networks import BytePairTokenizer, TextTransformer, VisionTransformer
from counterpoint.networks.fusion.operators import size_of
from counterpoint.networks.init import initialise
from counterpoint.pairwise import moments
from counterpoint.types import Batch, Classifier, Target
from fixtures.tiny import SIZES, TinyData

F64 = torch.float64
PICTURES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
TEXTS = ["a red cat", "a dog", "the hill", "a cat", "one more dog", "red"]


def gapped(method: Any, size: int = 8) -> Batch:
    """A batch in which one example lacks its picture and two their text, whatever their views hold."""
    there = {"image": torch.arange(size) != 1, "text": (torch.arange(size) != 4) & (torch.arange(size) != 5)}
    return replace(batch(method, size, dtype=F64), present=there)


@pytest.mark.parametrize(
    "options", [{}, {"fill": "mean"}, {"fill": "linear"}, {"operator": "mul"}, {"drop": 0.4}]
)
def test_what_view_holds_where_column_is_missing_does_not_matter(options: dict[str, Any]) -> None:
    method = build("late", **options).double()
    given = gapped(method)
    other = {name: view.clone() for name, view in given.views.items()}
    other["image"][1] = torch.nan
    other["text"][4:6] = 3
    for changed in (given, replace(given, views=other)):
        method.zero_grad(set_to_none=True)
        torch.manual_seed(0)
        total(method, changed).backward()
        found = [p.grad.clone() for p in method.classifier.parameters()]
        if changed is given:
            expected = found
    for one, same in zip(found, expected, strict=True):
        torch.testing.assert_close(one, same, rtol=0, atol=0)


@pytest.mark.parametrize("fill", ["mean", "linear"])
def test_features_of_16_bits_are_averaged_too(fill: str) -> None:
    method = build("late", fill=fill)
    given = replace(batch(method, 8), present={"image": torch.arange(8) != 1})
    with torch.autocast("cpu", torch.bfloat16):
        z = method.encode(given)
    assert z["image"].dtype == torch.bfloat16
    method.after_step({name: x.detach() for name, x in z.items()}, given, LATE)
    exact = build("late", fill=fill)
    exact.after_step({name: x.detach().float() for name, x in z.items()}, given, LATE)
    for name, value in exact.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name


@pytest.mark.parametrize("fill", ["zero", "mean", "linear"])
def test_filling_changes_nothing_without_gaps(fill: str) -> None:
    method = build("late", fill=fill).double()
    given = batch(method, 8, dtype=F64)
    z = method.encode(given)
    h = [method.projections[column](z[column]) for column in ("image", "text")]
    logits = method.classifier(torch.cat(h, 1))
    expected = F.cross_entropy(logits, given.labels["group"])
    torch.testing.assert_close(run(method, given)["late"], expected)
    method.after_step(z, given, LATE)
    torch.testing.assert_close(run(method, given)["late"], expected)


def test_the_mean_is_that_of_the_examples_that_have_the_column() -> None:
    method = build("late", fill="mean").double()
    given = gapped(method)
    z = method.encode(given)
    method.after_step(z, given, LATE)
    seen = given.has("text")
    mean = method.projections["text"](z["text"])[seen].mean(0)
    torch.testing.assert_close(method.means["text"].value, mean)
    whole = filled(method.projected(z), method.unlearned(method.projected(z), given.present), given.present)
    torch.testing.assert_close(whole["text"][~seen], mean.expand(2, -1))


def test_running_mean_weighs_steps_and_step_without_any_is_none() -> None:
    mean = RunningMean(2).double()
    assert mean.value.tolist() == [0, 0]
    steps = [torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=F64), torch.tensor([[8.0, 0.0]], dtype=F64)]
    for step in (steps[0], torch.full((3, 2), torch.nan, dtype=F64), steps[1]):
        mean.add(step, ~step.isnan().any(1))
    weights = torch.tensor([0.99, 1.0], dtype=F64)
    expected = (weights[:, None] * torch.stack([s.mean(0) for s in steps])).sum(0) / weights.sum()
    torch.testing.assert_close(mean.value, expected)


def test_running_map_is_least_squares_and_knows_nothing_at_first() -> None:
    found, g = RunningMap(3, 2).double(), torch.Generator().manual_seed(0)
    x = torch.randn(200, 3, generator=g, dtype=F64)
    y = x @ torch.randn(3, 2, generator=g, dtype=F64) + 0.5
    y[150:] = torch.nan
    assert not found(x).any()
    found.add(x[:100], y[:100], torch.ones(100, dtype=torch.bool))
    found.add(x[:4], y[:4], torch.zeros(4, dtype=torch.bool))
    found.add(x[100:], y[100:], ~y[100:].isnan().any(1))
    torch.testing.assert_close(found(x)[:150], y[:150], rtol=1e-2, atol=1e-2)
    assert not torch.allclose(found(x)[0], y[:150].mean(0), atol=0.1)


def test_linear_map_is_that_of_examples_that_have_both_columns() -> None:
    method = build("late", fill="linear").double()
    given = gapped(method)
    z = method.encode(given)
    h, both = method.projected(z), given.has("image") & given.has("text")
    for _ in range(3):
        method.after_step(z, given, LATE)
    expected = RunningMap(h["image"].shape[1], h["text"].shape[1]).double()
    expected.add(h["image"][both], h["text"][both], both[both])
    whole = filled(h, method.unlearned(h, given.present), given.present)
    lacking = ~given.has("text")
    torch.testing.assert_close(whole["text"][lacking], expected(h["image"])[lacking], rtol=1e-6, atol=1e-9)
    assert not torch.allclose(whole["text"][4], whole["text"][5])


def test_modality_dropout_leaves_last_column_and_as_many_as_says() -> None:
    method = build("late", drop=0.5)
    torch.manual_seed(0)
    there = {"image": torch.ones(4000, dtype=torch.bool), "text": torch.arange(4000) % 2 == 0}
    kept = method.dropout_masks(there)
    both = torch.stack(list(kept.values()), 1)
    assert both.any(1).all()
    assert not (kept["text"] & ~there["text"]).any()
    assert kept["image"][~there["text"]].all()
    # Of two columns an example keeps both with probability 1/4 and each alone with 3/8; 5 standard deviations.
    assert abs(both[::2].all(1).double().mean() - 0.25) < 5 * (0.1875 / 2000) ** 0.5
    nothing = method.dropout_masks({column: torch.zeros(3, dtype=torch.bool) for column in there})
    assert not torch.stack(list(nothing.values())).any()
    assert build("late").dropout_masks(there) == there


@pytest.mark.parametrize(
    ("operator", "joined"),
    [
        ("concat", lambda a, b: torch.cat([a, b], 1)),
        ("mean", lambda a, b: (a + b) / 2),
        ("mul", lambda a, b: a * b),
        ("max", torch.maximum),
    ],
)
def test_operators(operator: str, joined: Any) -> None:
    method = build("late", operator=operator)
    given = batch(method, 4)
    z = method.encode(given)
    a, b = (method.projections[column](z[column]) for column in ("image", "text"))
    torch.testing.assert_close(method.logits(z, given), method.classifier(joined(a, b)))


def test_bilinear_operators_give_logits_with_as_many_parameters() -> None:
    concat, method = build("late"), build("late", operator="mlb")
    given = batch(method, 4)
    z = method.encode(given)
    a, b = (method.projections[column](z[column]) for column in ("image", "text"))
    torch.testing.assert_close(method.logits(z, given), method.classifier(a, b))
    assert 0.9 < size_of(method.classifier) / size_of(concat.classifier) <= 1
    with pytest.raises(ValueError, match="joins two columns, not 1"):
        methods.create("late", {"image": ThroughImage(8)}, RECIPE, target=FIVE, operator="mlb")


def test_a_classifier_without_a_hidden_layer_is_linear() -> None:
    (layer,) = build("late", hidden=0).classifier
    assert isinstance(layer, torch.nn.Linear)


def test_examples_without_a_class_count_for_nothing() -> None:
    method = build("late").double()
    given = batch(method, 6, dtype=F64)
    target = torch.tensor([0, 2, -1, 1, -1, 2])
    logits = method.logits(method.encode(given), given)
    losses = run(method, replace(given, labels={"group": target}))
    torch.testing.assert_close(losses["late"], F.cross_entropy(logits, target, ignore_index=-1))
    assert run(method, replace(given, labels={"group": torch.full((6,), -1)}))["late"] == 0


def test_columns_of_one_modality_share_tower_and_keep_places() -> None:
    tower, text = ThroughImage(8), ThroughText(8)
    towers = {"image": tower, "second": tower, "text": text}
    method = methods.create("late", towers, RECIPE, target=FIVE)
    initialise(method, 0)
    g = torch.Generator().manual_seed(0)
    views = {column: torch.randn(3, 8, generator=g) for column in towers}
    given = features(**views)
    swapped = features(image=views["second"], second=views["image"], text=views["text"])
    assert isinstance(method, Late)
    one, other = (method.logits(method.encode(b), b) for b in (given, swapped))
    assert set(method.towers) == {"image", "text"}
    assert not torch.allclose(one, other)


# Classes of raw inputs


def test_classify_gives_probabilities_and_takes_what_there_is() -> None:
    method = build("late", fill="mean")
    assert isinstance(method, Classifier)
    whole = method.classify({"image": PICTURES, "text": TEXTS})
    assert whole.shape == (6, 5)
    torch.testing.assert_close(whole.sum(1), torch.ones(6))
    without = method.classify({"image": PICTURES})
    there = np.array([True, False, True, True, False, True])
    some = method.classify(
        {"image": PICTURES, "text": [t for t, has in zip(TEXTS, there, strict=True) if has]}, {"text": there}
    )
    torch.testing.assert_close(some[there], whole[there])
    torch.testing.assert_close(some[~there], without[~there])
    nothing = method.classify({}, {"image": np.zeros(2, dtype=bool)})
    torch.testing.assert_close(nothing[0], nothing[1])


def test_one_text_is_one_example() -> None:
    method = build("late")
    expected = method.classify({"image": PICTURES[:1], "text": TEXTS[:1]})
    assert torch.equal(method.classify({"image": PICTURES[:1], "text": TEXTS[0]}), expected)
    assert method.classify({"text": TEXTS[0]}).shape == (1, 5)


def test_classify_is_what_the_losses_are_of() -> None:
    method = build("late")
    prepared = {"image": PICTURES, "text": TEXTS}
    p = method.classify(prepared)
    views = {column: method.tower(column).input(raw) for column, raw in prepared.items()}
    of_batch = Batch(torch.arange(6), views, {"group": torch.arange(6) % 5})
    expected = F.nll_loss(p.log(), of_batch.labels["group"])
    torch.testing.assert_close(run(method, of_batch)["late"], expected)


@pytest.mark.parametrize(
    ("inputs", "present", "message"),
    [
        ({"imag": PICTURES}, {}, "unknown column 'imag': did you mean 'image'"),
        ({}, {}, "give some of image, text to be classified by"),
        ({"image": PICTURES, "text": TEXTS[:2]}, {}, "same examples, and there are 6 of image, 2 of text"),
        ({"image": PICTURES}, {"image": np.arange(6) < 2}, "2 examples have image, and 6 are given"),
        ({"text": PICTURES}, {}, "texts must be a list of texts"),
    ],
)
def test_classify_refuses_what_cannot_be_meant(inputs: Any, present: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("late").classify(inputs, present)


def test_a_method_that_needs_all_columns_says_so() -> None:
    method = build("m3col", target=FIVE)
    assert method.classify({"image": PICTURES, "text": TEXTS}).shape == (6, 5)
    with pytest.raises(ValueError, match="M3Col needs all of image, text of every example"):
        method.classify({"image": PICTURES})
    with pytest.raises(LookupError, match="this model learned no label: train it with --labels NAME"):
        build("m3col", target=None).classify({"image": PICTURES, "text": TEXTS})


def test_it_needs_a_label() -> None:
    towers: dict[str, Any] = {"image": ThroughImage(8)}
    with pytest.raises(
        ValueError, match="late learns the classes of a label: name one of the data's with --labels"
    ):
        methods.create("late", towers, RECIPE)
    with pytest.raises(ValueError, match="group has 1 classes"):
        methods.create("late", towers, RECIPE, target=Target("group", ("a",)))


def test_gradients_do_not_reach_towers_from_missing_columns() -> None:
    method = build("late")
    given = batch(method, 4)
    gone = replace(given, present={"text": torch.zeros(4, dtype=torch.bool)})
    total(method, gone).backward()
    gradients: list[Tensor] = [p.grad for p in method.towers["text"].parameters()]
    assert all(g is None or not g.any() for g in gradients)


# What is missing, predicted


def predicting(**options: Any) -> Any:
    """A method on transformers, whose prompts can read."""
    tokenizer = BytePairTokenizer.train(TEXTS, 300, 16)
    towers = {"image": VisionTransformer(8, 8, 16, 1, 2), "text": TextTransformer(tokenizer, 12, 2, 2)}
    options = {"fill": "predicted", "prompts": 3, "hidden": 9, **options}
    method = methods.create("late", towers, RECIPE, target=FIVE, **options)
    initialise(method, 0)
    return method


def shown(method: Any, **there: list[bool]) -> Batch:
    views = {"image": PICTURES / 255, "text": method.tower("text").tokenizer(TEXTS)}
    present = {column: torch.tensor(has) for column, has in there.items()}
    return Batch(torch.arange(6), views, {"group": torch.arange(6) % 5}, present)


def test_features_decided_complete_examples_do_not_depend() -> None:
    method = predicting()
    given = shown(method)
    z = method.encode(given)
    assert set(z) == {"image", "image.prompts", "text", "text.prompts"}
    for column in ("image", "text"):
        assert torch.equal(z[column], method.tower(column)(given[column]))
    before = method.logits(z, given)
    with torch.no_grad():
        for prompts in method.prediction.prompts.values():
            prompts.tokens.add_(1)
    assert torch.equal(method.logits(method.encode(given), given), before)


def test_what_is_missing_is_what_the_other_column_predicts() -> None:
    method = predicting()
    given = shown(method, text=[True, False, True, True, False, True])
    z = method.encode(given)
    h = method.projected(z)
    predicted = method.prediction.predictors["image to text"](z["image.prompts"])
    text = torch.where(given.has("text")[:, None], h["text"], predicted)
    torch.testing.assert_close(method.logits(z, given), method.decide({"image": h["image"], "text": text}))


def test_the_loss_of_predictions() -> None:
    method = predicting(weight=2.0, invariance=1.0, variance=3.0, covariance=0.5)
    given = shown(method, text=[True, False, True, True, False, True], image=[True] * 5 + [False])
    z, target = method.encode(given), given.labels["group"]
    h, losses = method.projected(z), run(method, given)
    p = method.prediction.of_pairs(z)
    both, within = [0, 2, 3], {"invariance": 1.0, "variance": 3.0, "covariance": 0.5}
    terms = [moments.vicreg(p[a, b][both], h[b][both], **within) for a, b in p]
    torch.testing.assert_close(losses["prediction"], 2 * (terms[0] + terms[1]) / 2)
    whole = {
        "image": torch.where(given.has("image")[:, None], h["image"], p["text", "image"]),
        "text": torch.where(given.has("text")[:, None], h["text"], p["image", "text"]),
    }
    torch.testing.assert_close(losses["late"], F.cross_entropy(method.decide(whole), target))
    replaced = [
        F.cross_entropy(method.decide({**whole, b: p[a, b]})[both], target[both])
        for a, b in (("image", "text"), ("text", "image"))
    ]
    torch.testing.assert_close(losses["replaced"], sum(replaced) / 2)


def test_predictions_of_several_columns_are_averaged() -> None:
    towers = {column: ThroughImage(8) for column in ("image", "second", "third")}
    method: Any = methods.create("late", towers, RECIPE, target=FIVE, fill="predicted", prompts=0)
    initialise(method, 0)
    g = torch.Generator().manual_seed(0)
    z = {column: torch.randn(3, 8, generator=g) for column in towers}
    of_pairs = method.prediction.of_pairs(z)
    there = {column: torch.ones(3, dtype=torch.bool) for column in towers}
    there["third"], there["second"] = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, True])
    means, known = joined(of_pairs, there)
    of_two = (of_pairs["image", "third"] + of_pairs["second", "third"]) / 2
    expected = torch.where(there["second"][:, None], of_two, of_pairs["image", "third"])
    torch.testing.assert_close(means["third"], expected)
    assert not means["image"][1].any()
    assert known["image"].tolist() == [True, False, True]


def test_tower_without_tokens_predicts_by_feature_and_log_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _say_without.cache_clear()
    for _ in range(2):
        method = build("late", fill="predicted")
    assert [record.getMessage() for record in caplog.records] == [
        "no prompts read the towers of image and text, which take none: their features predict what is missing"
    ]
    z = method.encode(batch(method, 4))
    assert set(z) == {"image", "text"}
    caplog.clear()
    predicting()
    assert not caplog.records


def test_features_may_learn_nothing_from_being_predicted() -> None:
    found = []
    for detach in (False, True):
        method = predicting(detach=detach, prompts=0)
        run(method, shown(method))["prediction"].backward()
        found.append(method.projections["text"].weight.grad)
    assert found[0].any()
    assert found[1] is None


def test_predicting_needs_another_column_classifies_without_some() -> None:
    lone: dict[str, Any] = {"image": ThroughImage(8)}
    with pytest.raises(
        ValueError, match="fill=predicted predicts a column from others, and image is the only one"
    ):
        methods.create("late", lone, RECIPE, target=FIVE, fill="predicted")
    with pytest.raises(ValueError, match="fill=linear predicts a column from others, and image is the only"):
        methods.create("late", lone, RECIPE, target=FIVE, fill="linear")
    method = predicting()
    assert method.tower("text").read
    whole, without = method.classify({"image": PICTURES, "text": TEXTS}), method.classify({"image": PICTURES})
    assert not torch.allclose(whole, without)
    nothing = method.classify({}, {"image": np.zeros(2, dtype=bool)})
    torch.testing.assert_close(nothing[0], nothing[1])


def test_features_meet_classifier_not_compared_unless_asked_for() -> None:
    data, method = TinyData(), build("late", target=Target("gender", SIZES))
    asked = [scores.task for scores in evaluate(method, data, tests={"some": np.arange(12)}).by_test["some"]]
    assert "classification" in asked
    assert not {"retrieval", "zero_shot"} & set(asked)
