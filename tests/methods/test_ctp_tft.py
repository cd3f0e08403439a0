"""CTP-TFT by a plain loop, what its parts depend on, and zero-shot classification by patches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, TAGS, All, StubImage, StubText, ThroughImage, build, loaded, ready
from torch import Tensor

from counterpoint import methods
from counterpoint.types import Batch, StepInfo, Target

F64 = torch.float64
CLASSES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(build("zero-shot"), 20, dtype=F64)


def moved(**options: Any) -> Any:
    """The method with random weights."""
    method = build("ctp-tft", words="a small red", **options).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        method.begin()
        for parameter in (*method.of_patches.parameters(), *method.of_classes.parameters()):
            parameter.normal_(std=0.5)
    return method


def scores(method: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return method.logits(method.encode(given), given)


def features(method: Any, given: Batch) -> tuple[Tensor, Tensor]:
    """Unit-norm features of pictures, and of their patches one by one."""
    tower, head = method.image_tower, method.projections["image"]
    with torch.no_grad():
        v = F.normalize(head(tower(given["image"])), dim=-1)
        maps = tower.patches(given["image"])
        patches = torch.stack([F.normalize(head(maps[:, :, k, 0]), dim=-1) for k in range(maps.shape[2])], 1)
    return v, patches


def softmax(numbers: list[float]) -> list[float]:
    total = sum(math.exp(number) for number in numbers)
    return [math.exp(number) / total for number in numbers]


def attended(layer: Any, query: Tensor, context: list[Tensor]) -> Tensor:
    """The formula of the class, for one query."""
    d = len(query)
    q = layer.query.weight @ (query * d**0.5)
    keys = [layer.key.weight @ (vector * d**0.5) for vector in context]
    values = [layer.value.weight @ (vector * d**0.5) for vector in context]
    weights = softmax([float(q @ key) / d**0.5 for key in keys])
    return layer.out.weight @ sum(w * value for w, value in zip(weights, values, strict=True))


def test_scores_by_a_loop(given: Batch) -> None:
    method = moved()
    v, patches = features(method, given)
    text = method.text_tower
    words = text.words.weight[text.tokenizer(["a small red"])[0, :-1]]
    with torch.no_grad():
        u = method.embedded_texts([f"a photo of a {name}." for name in CLASSES])
        expected = torch.zeros(len(v), 5, dtype=F64)
        for row in range(len(v)):
            t = []
            for number, name in enumerate(CLASSES):
                shift = attended(method.of_patches, u[number], list(patches[row]))
                own = text.words.weight[text.tokenizer([f"{name}."])[0]]
                said = torch.tanh(text.linear(torch.cat([words + shift, own]).mean(0)))
                t.append(F.normalize(method.projections["text"](said), dim=-1))
            tuned = v[row] + attended(method.of_classes, v[row], t)
            expected[row] = torch.stack([tuned @ each / tuned.norm() / 0.07 for each in t])
    torch.testing.assert_close(scores(method, given), expected, rtol=1e-5, atol=1e-5)


def test_shift_is_of_each_class_unless_it_is_shared(given: Batch) -> None:
    own, shared = moved(), moved(prompts="shared")
    _, patches = features(own, given)
    with torch.no_grad():
        of_each, of_all = own._shifts(patches), shared._shifts(patches)
    assert of_each.std(1).min() > 1e-6
    torch.testing.assert_close(of_all, of_each.mean(1, keepdim=True).expand_as(of_each))
    assert not torch.allclose(scores(own, given), scores(shared, given))


def test_score_of_a_class_depends_on_the_others_by_the_tuned_feature_alone(given: Batch) -> None:
    for tuning, same in ((True, False), (False, True)):
        method = moved(tuning=tuning)
        fewer = scores(method.renamed(("c", "a")), given)
        assert torch.allclose(fewer, scores(method, given)[:, [2, 0]]) == same


def test_without_both_parts_it_has_the_prompts_of_coop(given: Batch) -> None:
    method, coop = moved(prompts="none", tuning=False), build("coop", words="a small red").double().eval()
    with torch.no_grad():
        coop.begin()
    torch.testing.assert_close(scores(method, given), scores(coop, given))


def test_learning_lowers_the_loss(given: Batch) -> None:
    method, start = (build("ctp-tft", words="a small red", epochs=5).double().eval() for _ in range(2))
    torch.manual_seed(0)
    with torch.no_grad():
        start.begin()
        method.on_epoch_start(All(given), StepInfo(0, 10))
    before, after = (F.cross_entropy(scores(m, given), given.labels["group"]) for m in (start, method))
    assert after < before - 0.01
    assert method.of_patches.out.weight.any()
    assert method.of_classes.out.weight.any()


def test_zero_shot_by_patches_by_a_loop(given: Batch) -> None:
    method = build("zero-shot", reads="patches").double().eval()
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
    v, patches = features(method, given)
    expected = torch.zeros(len(v), 5, dtype=F64)
    for row in range(len(v)):
        for number in range(5):
            cosines = [float(patch @ method.texts[number]) for patch in patches[row]]
            weights = softmax([20 * cosine for cosine in cosines])
            expected[row, number] = sum(w * c for w, c in zip(weights, cosines, strict=True)) / 0.07
    torch.testing.assert_close(scores(method, given), expected, rtol=1e-5, atol=1e-5)
    pictures = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    assert method.float().classify({"image": pictures}).shape == (3, 5)
    assert method.embed("image", pictures).shape == (3, method.width)  # a picture is one vector still


def test_zero_shot_by_patches_sets_the_intercept_of_tags(given: Batch) -> None:
    method = build("zero-shot", reads="patches", target=TAGS).double().eval()
    labels = given.labels["tags"]
    known = labels >= 0
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
        p = method.probabilities(scores(method, given))
    share = float(((labels == 1).sum() + 0.5) / (known.sum() + 1))
    assert float(p[known].mean()) == pytest.approx(share, abs=1e-4)


def test_tower_without_patches_is_refused() -> None:
    towers = ready({"image": ThroughImage(12), "text": StubText()}, 0)
    towers["image"].register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    target = Target("group", CLASSES)
    for name, options in (("ctp-tft", {"words": "a"}), ("zero-shot", {"reads": "patches"})):
        with pytest.raises(LookupError, match="no features of single places"):
            methods.create(name, towers, RECIPE, target=target, **options)


def test_features_of_patches_do_not_come_from_the_memory_of_pictures(given: Batch) -> None:
    assert moved().image_tower.read
    assert not build("zero-shot").image_tower.read
    assert isinstance(moved().image_tower, StubImage)
