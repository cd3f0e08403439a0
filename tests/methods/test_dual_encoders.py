"""SigLIP, ALIGN, ConVIRT, LiT and SLIP against their cards."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import (
    LATE,
    LOCKED,
    RECIPE,
    StubImage,
    StubText,
    batch,
    build,
    features,
    run,
    through,
    total,
    towers_of,
)
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.networks.heads import Linear
from counterpoint.pairwise import Loss
from counterpoint.recipes import override
from counterpoint.recipes.schema import Recipe, Towers

F64 = torch.float64


class Counting(Loss):
    """Counts the updates of its state, and calls the loss inside it."""

    def __init__(self, inside: Loss | None = None) -> None:
        super().__init__()
        self.inside, self.updates = inside, 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum() if self.inside is None else self.inside(x, y)

    def update_state(self) -> None:
        self.updates += 1


def test_a_step_updates_each_loss_once_those_inside_others_too() -> None:
    method = build("clip")
    method.objective = Counting(Counting())
    method.more = nn.ModuleList([Counting()])
    for loss in (method.objective, method.more[0]):
        loss(torch.ones(2, 2), torch.ones(2, 2))
    given = batch(method)
    for _ in range(2):
        method.after_step(method.targets(given), given, LATE)
        assert [m.updates for m in method.modules() if isinstance(m, Counting)] == [1, 1, 1]


def two_views(size: int = 7, width: int = 8) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(size, width, generator=g, dtype=F64), torch.randn(size, width, generator=g, dtype=F64)


def cross_entropy(logits: Tensor, smoothing: float = 0.0) -> float:
    rows = [
        -(1 - smoothing) * p[i] - smoothing * p.sum() / len(p)
        for i, p in enumerate(row - row.exp().sum().log() for row in logits)
    ]
    return float(sum(rows)) / len(rows)


def cosines(x: Tensor, y: Tensor) -> Tensor:
    return F.normalize(x, dim=1) @ F.normalize(y, dim=1).T


# SigLIP


def test_siglip_sums_over_columns_and_divides_by_the_batch_once() -> None:
    x, y = two_views()
    logits = 10 * cosines(x, y) - math.log(RECIPE.batch_size - 1)
    expected = 0.0
    for i in range(7):
        for j in range(7):
            z = 1 if i == j else -1
            expected += math.log(1 + math.exp(-z * float(logits[i, j]))) / 7
    assert total(through("siglip"), features(image=x, text=y)).item() == pytest.approx(expected)


def test_siglip_is_defined_on_one_pair() -> None:
    x = torch.eye(8, dtype=F64)[:1]
    loss = total(through("siglip", bias=-9.0), features(image=x, text=x))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_siglips_bias_keeps_the_first_loss_small() -> None:
    method, unbiased = build("siglip", bias=-10.0), build("siglip", bias=0.0)
    given = batch(method, 64)
    # With b = 0 each of the 63 negatives costs about log 2 or more, with b = −10 next to nothing.
    assert float(total(unbiased, given).detach()) > 63 * math.log(2)
    assert float(total(method, given).detach()) < 20
    for name, value in (("bias", -10.0), ("temperature.parameter", math.log(10))):
        parameter = dict(method.objective.named_parameters())[name]
        assert float(parameter.detach()) == pytest.approx(value)


@pytest.mark.parametrize("size", [2, 16, 128, 32_768])
def test_siglips_bias_starts_balanced_for_batch_of_the_recipe(size: int) -> None:
    method = build("siglip", recipe=override(RECIPE, {"batch_size": size}))
    assert float(method.objective.bias.detach()) == pytest.approx(-math.log(size - 1))


def test_a_stated_bias_of_siglip_stands_whatever_the_batch() -> None:
    recipe = override(RECIPE, {"batch_size": 16})
    assert float(build("siglip", recipe=recipe, bias=-10.0).objective.bias.detach()) == -10.0


def test_siglips_scale_has_no_bounds() -> None:
    method = build("siglip")
    method.objective.temperature.parameter.data.fill_(math.log(300))
    method.after_step({}, batch(method), LATE)
    assert float(method.objective.temperature.value.detach()) == pytest.approx(1 / 300)


# ALIGN


def test_align_sums_the_directions_smooths_and_starts_at_sigma_1() -> None:
    x, y = two_views()
    s = cosines(x, y)
    expected = cross_entropy(s, 0.1) + cross_entropy(s.T, 0.1)
    assert total(through("align"), features(image=x, text=y)).item() == pytest.approx(expected)
    assert isinstance(build("align").objective.temperature.parameter, nn.Parameter)


def test_align_maps_the_text_to_the_pictures_features() -> None:
    method = build("align")
    assert not list(method.projections["image"].parameters())
    assert method.projections["text"].weight.shape == (method.image_tower.width, method.text_tower.width)
    pictures = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    z = F.normalize(method.image_tower(pictures.float() / 255), dim=-1)
    torch.testing.assert_close(method.embed("image", pictures), z.detach())


def test_aligns_compositional_query_has_unit_norm_parts() -> None:
    method = build("align")
    image = method.embed("image", torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8))
    text = method.embed("text", ["a red cat"])
    query = F.normalize(image + text, dim=-1)
    torch.testing.assert_close(method.similarity(query, image), method.similarity(query, text))


# ConVIRT


def test_convirt_gives_three_quarters_to_the_image() -> None:
    x, y = two_views()
    s = cosines(x, y) / 0.1
    for weight in (0.75, 0.25):
        method = through("convirt", image_weight=weight)
        expected = weight * cross_entropy(s) + (1 - weight) * cross_entropy(s.T)
        assert total(method, features(image=x, text=y)).item() == pytest.approx(expected)
    assert abs(cross_entropy(s) - cross_entropy(s.T)) > 0.01  # or the test could not tell


def test_convirt_fixed_temperature_max_pooling_and_hidden_layer() -> None:
    method = build("convirt")
    assert not list(method.objective.parameters())
    assert float(method.objective.temperature.value) == pytest.approx(0.1)
    assert method.text_tower.pooling == "max"
    for head in method.projections.values():
        assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
    assert method.views["image"].augmentation == "convirt"


def test_convirt_leaves_a_tower_alone_that_has_its_own_pooling() -> None:
    text = StubText()
    text.pooling = None
    methods.create("convirt", {"image": StubImage(), "text": text}, RECIPE)
    assert text.pooling is None


# LiT


def lit(image: str, text: str, **options: Any) -> Any:
    recipe = RECIPE.model_copy(update={"towers": Towers(image=image, text=text, image_size=8)})
    return build("lit", recipe=recipe, **options)


@pytest.mark.parametrize(
    ("mode", "image", "text"),
    [
        ("Lu", "timm:x@w", "transformer"),
        ("LU", "timm:x@w", "transformers:y@w"),
        ("LL", "timm:x@w", "transformers:y@w"),
        ("Uu", "timm:x@w", "transformer"),
        ("UU", "timm:x@w", "transformers:y@w"),
        ("uu", "cnn", "transformer"),
        ("uL", "cnn", "transformers:y@w"),
    ],
)
def test_lit_moves_what_its_letters_say(mode: str, image: str, text: str) -> None:
    method = lit(image, text, mode=mode)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    given = batch(method)
    # A decay, too, must not touch a locked tower.
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.5)
    total(method, given).backward()
    optimizer.step()
    for modality, letter in (("image", mode[0]), ("text", mode[1])):
        moved = not torch.equal(
            method.towers[modality].linear.weight, before[f"towers.{modality}.linear.weight"]
        )
        assert moved == (letter != "L")
    assert not torch.equal(method.projections["text"].weight, before["projections.text.weight"])


def test_lit_keeps_a_locked_tower_in_evaluation_mode() -> None:
    class WithNorm(StubImage):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(self.width)

        def forward(self, images: Tensor) -> Tensor:
            normed: Tensor = self.norm(super().forward(images))
            return normed

    towers = towers_of("lit", WithNorm(), StubText(), LOCKED)
    method: Any = methods.create("lit", towers, LOCKED).train()
    assert method.training
    assert method.text_tower.training
    assert not any(m.training for m in method.image_tower.modules())
    run(method, batch(method))
    assert int(method.image_tower.norm.num_batches_tracked) == 0


def test_lit_maps_text_to_the_image_unless_it_has_an_image_head() -> None:
    bare, headed = build("lit"), build("lit", image_head=True)
    assert isinstance(bare.projections["image"], nn.Identity)
    assert bare.projections["text"].weight.shape == (12, 10)
    assert isinstance(headed.projections["image"], Linear)
    total(headed, batch(headed)).backward()
    assert headed.projections["image"].weight.grad is not None
    assert float(bare.objective.temperature.value.detach()) == pytest.approx(0.1)


def test_lit_is_the_symmetric_softmax() -> None:
    x, y = two_views()
    s = cosines(x, y) / 0.1
    method = through("lit", recipe=LOCKED)
    expected = (cross_entropy(s) + cross_entropy(s.T)) / 2
    assert total(method, features(image=x, text=y)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mode", "recipe", "message"),
    [
        ("Lu", RECIPE, r"pretrained and locked, but it is 'cnn'; name weights as image=NAME@WEIGHTS"),
        ("uu", LOCKED, r"image tower trained from random weights, but it is 'cnn@weights'"),
        ("LU", LOCKED, r"text tower pretrained and trained, but it is 'transformer'"),
        ("lu", LOCKED, r"mode='lu': give a letter for the first and one for the second tower"),
        ("L", LOCKED, r"mode='L'"),
    ],
)
def test_lit_refuses_letters_that_do_not_go_with_the_towers(mode: str, recipe: Recipe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("lit", recipe=recipe, mode=mode)


# SLIP


def test_slip_adds_simclr_on_two_further_pictures() -> None:
    method, clip = build("slip", ssl_weight=0.5).double(), build("clip").double()
    given = batch(method, 6, dtype=F64)
    losses = run(method, given)
    torch.testing.assert_close(losses["clip"], run(clip, given)["clip"])
    v = torch.cat(
        [F.normalize(method.ssl_projection(method.image_tower(given[f"image.{k}"])), dim=1) for k in (1, 2)]
    )
    v, expected = v.detach(), 0.0
    for i in range(12):
        others = [float(v[i] @ v[j]) / 0.1 for j in range(12) if j != i]
        expected += math.log(sum(map(math.exp, others))) - float(v[i] @ v[(i + 6) % 12]) / 0.1
    assert float(losses["simclr"].detach()) == pytest.approx(0.5 * expected / 12)


def test_slip_makes_three_passes_over_pictures_one_over_captions() -> None:
    method = build("slip")
    run(method, batch(method, 5))
    assert method.passes() == {"image": 3, "text": 1}
    assert method.image_tower.calls == [5, 5, 5]
    assert len(method.text_tower.dropouts) == 1
    augmentations = {k: v.augmentation for k, v in method.views.items()}
    assert augmentations == {"image": "weak", "text": "plain", "image.1": "simclr", "image.2": "simclr"}


def test_slips_head_is_a_three_layer_perceptron() -> None:
    kinds = [type(layer).__name__ for layer in build("slip").ssl_projection]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
