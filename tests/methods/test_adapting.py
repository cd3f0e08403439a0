"""Methods that adapt a frozen pair: plain loops in float64, limits, parity with scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import TAGS, All, build, loaded
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from counterpoint.losses import BCELoss
from counterpoint.methods._adapting import label_loss
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from counterpoint.networks.towers.transformer import TextTransformer
from counterpoint.types import Batch, StepInfo, Target

F64 = torch.float64
CLASSES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def given() -> Batch:
    return loaded(build("zero-shot"), 20, dtype=F64)


def fitted(name: str, given: Batch, **options: Any) -> Any:
    method = build(name, **options).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
    return method


def known(method: Any, given: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the examples, of the names, and classes."""
    with torch.no_grad():
        v = method.shared(method.features("image", given["image"]))
        names = method.embedded_texts([method.template.replace("{}", name) for name in CLASSES])
    return v.double(), names.double(), given.labels["group"]


def scores(method: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return method.logits(method.encode(given), given)


def scale(method: Any) -> float:
    return float(method.objective.temperature.inverse())


def cosine_rate(lr: float, step: int, steps: int) -> float:
    return lr * (1 + math.cos(math.pi * step / steps)) / 2


def plain_sgd(start: Tensor, gradient: Any, rates: list[float]) -> Tensor:
    """Gradient descent with a momentum of 0.9, step by step."""
    weight, velocity = start.clone(), torch.zeros_like(start)
    for rate in rates:
        velocity = 0.9 * velocity + gradient(weight)
        weight = weight - rate * velocity
    return weight


def gradient_of(loss: Any) -> Any:
    def gradient(weight: Tensor) -> Tensor:
        weight = weight.clone().requires_grad_(True)
        (of_weight,) = torch.autograd.grad(loss(weight), weight)
        return of_weight

    return gradient


def test_zero_shot_is_the_scaled_cosine(given: Batch) -> None:
    method = fitted("zero-shot", given)
    v, t, _ = known(method, given)
    assert scale(method) == pytest.approx(1 / 0.07)
    torch.testing.assert_close(scores(method, given).double(), v @ t.T / 0.07, rtol=1e-5, atol=1e-5)


def test_tip_adapter_by_a_loop(given: Batch) -> None:
    method = fitted("tip-adapter", given, alpha=2.0, beta=3.0)
    v, t, classes = known(method, given)
    expected = scale(method) * v @ t.T
    for row in range(len(v)):
        for shot in range(len(v)):
            weight = math.exp(-3.0 * (1 - float(v[row] @ v[shot])))
            expected[row, classes[shot]] += 2.0 * weight
    torch.testing.assert_close(scores(method, given).double(), expected, rtol=1e-5, atol=1e-5)


def test_linear_text_and_clap_by_a_loop(given: Batch) -> None:
    rates = [cosine_rate(0.1, step, 7) for step in range(7)]
    for name in ("linear-text", "clap"):
        method = fitted(name, given, epochs=7)
        v, t, classes = known(method, given)
        own = (scale(method) * v @ t.T).softmax(1)
        multipliers = [
            float(np.mean([float(own[k, c]) for k in range(len(v)) if classes[k] == c])) for c in range(5)
        ]

        def loss(weight: Tensor) -> Tensor:
            logits = scale(method) * v @ F.normalize(weight, dim=1).T  # noqa: B023 # called at once
            penalty = sum(m * (weight[c] - t[c]).square().sum() for c, m in enumerate(multipliers)) / 5  # noqa: B023
            return F.cross_entropy(logits, classes) + (penalty if name == "clap" else 0.0)  # noqa: B023

        expected = plain_sgd(t, gradient_of(loss), rates)
        torch.testing.assert_close(method.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_lp_plus_plus_by_a_loop(given: Batch) -> None:
    method = fitted("lp-plus-plus", given, epochs=25, start=2.0)
    v, t, classes = known(method, given)
    n, cosines = len(v), v @ t.T
    weight = torch.stack([v[classes == c].sum(0) for c in range(5)])
    bias, velocities = torch.zeros(5, dtype=F64), [torch.zeros_like(weight), torch.zeros(5, dtype=F64)]
    means = [float(cosines[classes == c, c].mean()) for c in range(5)]
    alpha = torch.full((5,), 2.0 * float(np.mean(means)), dtype=F64)
    rate = 4 * n / np.linalg.eigvalsh((v.T @ v).numpy()).max()
    rate_of_names = n / (4 * max(float(cosines[:, c].square().sum()) for c in range(5)))
    for step in range(1, 26):
        p = (v @ weight.T + bias + alpha * cosines).softmax(1) - F.one_hot(classes, 5)
        gradients = [p.T @ v / n, p.mean(0), (p * cosines).mean(0)]
        velocities = [0.9 * u + g for u, g in zip(velocities, gradients[:2], strict=True)]
        weight, bias = weight - rate * velocities[0], bias - rate * velocities[1]
        if step % 10 == 0:
            alpha = alpha - rate_of_names * gradients[2]
    for measured, expected in (
        (method.head.weight, weight),
        (method.head.bias, bias),
        (method.alpha, alpha),
    ):
        torch.testing.assert_close(measured.double(), expected, rtol=1e-4, atol=1e-5)


def test_linear_is_that_of_scikit_learn(given: Batch) -> None:
    method = fitted("linear", given, strength=0.5)
    with torch.no_grad():
        z = method.features("image", given["image"]).double().numpy()
    x = (z - z.mean(0)) / z.std(0)
    reference = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(x, given.labels["group"].numpy())
    p = torch.from_numpy(reference.predict_proba(x))
    torch.testing.assert_close(scores(method, given).double().softmax(1), p, rtol=1e-3, atol=1e-4)


def test_linear_of_tags_is_a_regression_of_each_tag_on_rows_that_know_it(given: Batch) -> None:
    method = fitted("linear", given, strength=0.5, target=TAGS)
    tags = given.labels["tags"].numpy()
    with torch.no_grad():
        z = method.features("image", given["image"]).double().numpy()
    of_some = z[(tags >= 0).any(1)]
    x = (z - of_some.mean(0)) / of_some.std(0)
    p = scores(method, given).double().sigmoid()
    for number, tag in enumerate(tags.T):
        known = tag >= 0
        assert len({*tag[known]}) == 2
        assert not known.all()
        reference = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(x[known], tag[known])
        expected = torch.from_numpy(reference.predict_proba(x)[:, 1])
        torch.testing.assert_close(p[:, number], expected, rtol=1e-3, atol=1e-4)


def test_loss_of_tags_is_that_of_bce_loss() -> None:
    scores, labels = torch.randn(6, 4), torch.randint(-1, 2, (6, 4))
    expected = BCELoss()(scores, torch.eye(4), targets=labels == 1, known=labels >= 0)
    every_row_is_known = (labels >= 0).any(1).all()
    assert every_row_is_known
    torch.testing.assert_close(label_loss(scores, labels), expected)


def test_intercept_of_tags_keeps_probabilities_apart(given: Batch) -> None:
    method = build("zero-shot", target=TAGS).double().eval()
    method.objective.temperature.parameter.fill_(math.log(1e4))
    labels = given.labels["tags"]
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
        p = method.probabilities(scores(method, given))
    known = labels >= 0
    share = float(((labels == 1).sum() + 0.5) / (known.sum() + 1))
    assert float(p[known].mean()) == pytest.approx(share, abs=1e-4)
    v, t = method.shared(method.features("image", given["image"])), method.texts
    assert (v @ t.T).argsort(0).equal(scores(method, given).argsort(0))


def tower(words: list[str]) -> TextTransformer:
    made = TextTransformer(BytePairTokenizer.train(words, 300, context=16), width=16, depth=2)
    initialise(made, 0)
    for parameter in made.parameters():
        parameter.data *= 3  # so that layers matter
    return made.double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def coop() -> Any:
    """CoOp on a transformer of texts."""
    from method_stubs import RECIPE, StubImage, ready

    from counterpoint import methods

    image = ready({"image": StubImage()}, 0)["image"]
    towers = {"image": image, "text": tower(["red cat", "a dog"])}

    def made(name: str = "coop", **options: Any) -> Any:
        method = methods.create(name, towers, RECIPE, target=Target("group", CLASSES), **options)
        method.projections.requires_grad_(False)
        initialise(method.projections, 0)
        return method.double().eval()

    return made


def test_coop_by_a_loop(coop: Any, given: Batch) -> None:
    method = coop(words="red", epochs=6)
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(All(given), StepInfo(0, 10))
    v, _, classes = known(method, given)
    text = method.text_tower
    ids = text.tokenizer(["red"])[0, 1:-1]
    rows = [text.tokenizer([f"{name}."])[0].tolist() for name in CLASSES]

    def features(context: Tensor) -> Tensor:
        of_names = []
        for row in rows:  # a transformer by hand: vectors, then blocks, then the end token
            own = text.token_embedding.weight[torch.tensor(row)]
            x = (
                torch.cat([own[:1], context, own[1:]])
                + text.position_embedding.weight[: len(row) + len(context)]
            )
            for block in text.blocks:
                x = block(x[None])[0]
            of_names.append(text.norm(x)[-1])
        return F.normalize(method.projections["text"](torch.stack(of_names)), dim=1)

    gradient = gradient_of(lambda c: F.cross_entropy(scale(method) * v @ features(c).T, classes))
    rates = [1e-5, *(cosine_rate(2e-3, step, 6) for step in range(1, 6))]
    expected = plain_sgd(text.token_embedding.weight[ids], gradient, rates)
    assert not torch.equal(expected, text.token_embedding.weight[ids])
    torch.testing.assert_close(method.prompts.context.detach(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(method.texts, features(expected), rtol=1e-5, atol=1e-6)


def test_cocoop_without_a_shift_is_coop(coop: Any, given: Batch) -> None:
    both = [coop("coop", words=None, vectors=3), coop("cocoop", words=None, vectors=3)]
    both[1].shift[2].weight.data.zero_()
    both[1].shift[2].bias.data.zero_()
    for method in both:
        torch.manual_seed(0)
        method.begin()
    assert len(both[0].prompts.context) == 3
    one, other = (scores(method, given) for method in both)
    torch.testing.assert_close(other, one)
    both[1].shift[2].bias.data.normal_()
    assert not torch.allclose(scores(both[1], given), one)


@pytest.mark.parametrize(
    ("name", "options"), [("tip-adapter", {"alpha": 0.0}), ("clip-adapter", {"ratio": 0.0})]
)
def test_limits_are_zero_shot(name: str, options: dict[str, float], given: Batch) -> None:
    zero, other = fitted("zero-shot", given), fitted(name, given, **options)
    torch.testing.assert_close(scores(other, given), scores(zero, given))


def test_given_vectors_stand_where_words_would() -> None:
    text = tower(["red cat", "a dog"])
    tokens = text.tokenizer(["red cat", "a dog runs"])
    plain = text(tokens)
    positions = torch.tensor([[1, 2], [1, 2]])
    own = text.token_embedding(tokens)[:, 1:3]
    torch.testing.assert_close(text.with_vectors(tokens, own, positions), plain)
    vectors = own.flip(0).requires_grad_(True)
    moved = text.with_vectors(tokens, vectors, positions)
    assert not torch.allclose(moved, plain)
    moved.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any()
    torch.testing.assert_close(text(tokens), plain)  # the tower is as it was


def test_tower_without_table_of_tokens_takes_no_vectors() -> None:
    from method_stubs import StubText

    text = StubText()
    text.words = torch.nn.Embedding(8, 10)
    with pytest.raises(LookupError, match="no table of the vectors of tokens"):
        _ = text.token_table
