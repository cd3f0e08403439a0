"""LLM-VEM: regression alone at λ = 0, frozen texts, masked repeats, components of training rows, two stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.losses import InfoNCELoss
from counterpoint.methods.llm_vem import LLMVEM
from counterpoint.networks.base import ImageTower, TextTower
from counterpoint.networks.towers.table import Cells, ColumnStatistics, TablePerceptron
from counterpoint.recipes.schema import Recipe
from counterpoint.types import Batch, StepInfo

START = StepInfo(0, 10, stage="mapping")
N, V = 24, 7


class Pixels(ImageTower):
    def __init__(self) -> None:
        super().__init__()
        self.width, self.size = 6, 2
        self.linear = nn.Linear(12, 6)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)).tanh()


class Words(TextTower):
    class Tokens:
        context, vocabulary, end = 3, 30, 29

        def __call__(self, captions: Any) -> Tensor:
            raise NotImplementedError

        too_long = __call__

    def __init__(self) -> None:
        super().__init__()
        self.width, self.tokenizer = 5, self.Tokens()
        self.words = nn.Embedding(30, 5)

    def forward(self, tokens: Tensor, dropout: float = 0.0) -> Tensor:
        return self.words(tokens[:, 0])


class All:
    def __init__(self, batch: Batch) -> None:
        self.batch, self.ids, self.labels = batch, batch.ids, batch.labels

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        return torch.cat([function(part) for part in self.batch.split(7)])


def method_of(**options: Any) -> LLMVEM:
    torch.manual_seed(0)
    table = TablePerceptron(Cells([ColumnStatistics(name=f"voxel {k}") for k in range(V)]))
    towers = {"image": Pixels(), "text": Words(), "table": table}
    return LLMVEM(towers, Recipe(), **{"components": 3, **options})


def batch(n: int = N) -> Batch:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(n, 2, generator=generator)
    voxels = hidden @ torch.randn(2, V, generator=generator) + 0.5
    views = {
        "image": torch.rand(n, 3, 2, 2, generator=generator),
        "text": torch.randint(0, 28, (n, 3), generator=generator),
        "table": voxels,
    }
    return Batch(torch.arange(n), views, {"picture": torch.arange(n) // 2})


def run(method: LLMVEM, given: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        z = method.targets(given)
    return method.losses(z | method.encode(given), given, START)


def test_weight_0_is_the_regression_exactly() -> None:
    with_text, alone = method_of(), method_of(weight=0.0)
    alone.load_state_dict({k: v for k, v in with_text.state_dict().items() if not k.startswith("projection")})
    given = batch()
    assert run(alone, given).keys() == {"voxels"}
    assert torch.equal(run(alone, given)["voxels"], run(with_text, given)["voxels"])
    predicted = alone.components(alone.mapping(alone.tower("image")(given["image"])))
    torch.testing.assert_close(run(alone, given)["voxels"], F.mse_loss(predicted, given["table"]))
    assert alone.embeds == ("image",)


def test_the_contrast_is_that_of_infonce_in_both_directions() -> None:
    method, given = method_of(weight=0.5), batch()
    u = F.normalize(method.projection(method.tower("image")(given["image"])), dim=-1)
    t = F.normalize(method.tower("text")(given["text"]), dim=-1)
    torch.testing.assert_close(run(method, given)["said"], 0.5 * InfoNCELoss(0.07)(u, t))


def test_examples_of_one_picture_are_no_negatives_of_each_other() -> None:
    method, given = method_of(weight=1.0, repeats="picture"), batch(4)
    u = F.normalize(method.projection(method.tower("image")(given["image"])), dim=-1)
    t = F.normalize(method.tower("text")(given["text"]), dim=-1)
    s = u @ t.T / 0.07
    allowed = (torch.arange(4)[:, None] // 2 != torch.arange(4)[None] // 2) | torch.eye(4, dtype=torch.bool)
    s = s.masked_fill(~allowed, -torch.inf)
    expected = (F.cross_entropy(s, torch.arange(4)) + F.cross_entropy(s.T, torch.arange(4))) / 2
    torch.testing.assert_close(run(method, given)["said"], expected)
    with pytest.raises(ValueError, match="picure"):
        run(method_of(repeats="picure"), given)


def test_examples_of_no_picture_said_are_negatives_of_each_other() -> None:
    given = batch(4)
    unsaid = Batch(given.ids, given.views, {"picture": torch.full((4,), -1)})
    torch.testing.assert_close(
        run(method_of(weight=1.0, repeats="picture"), unsaid)["said"],
        run(method_of(weight=1.0), unsaid)["said"],
    )


def test_no_gradient_reaches_the_texts_and_the_table() -> None:
    method = method_of()
    torch.stack(list(run(method, batch()).values())).sum().backward()
    for name, parameter in method.named_parameters():
        frozen = name.startswith(("towers.text.", "towers.table."))
        assert parameter.requires_grad != frozen, name
        assert (parameter.grad is None) == frozen, name


def test_the_last_layer_starts_as_the_components_of_the_examples() -> None:
    method, given = method_of(), batch()
    method.on_epoch_start(All(given), START)
    voxels = given["table"]
    torch.testing.assert_close(method.components.bias, voxels.mean(0))
    centred = voxels - voxels.mean(0)
    # Two hidden numbers decide all voxels: two components give them back.
    weight = method.components.weight[:, :2]
    torch.testing.assert_close(centred @ weight @ weight.T, centred, atol=1e-5, rtol=0)
    method.components.weight.data.zero_()
    method.on_epoch_start(All(given), StepInfo(5, 10, stage="whole"))
    assert not method.components.weight.any()


def test_cells_that_were_not_measured_have_no_term() -> None:
    method, given = method_of(weight=0.0), batch()
    predicted = method.components(method.mapping(method.tower("image")(given["image"])))
    gone = torch.rand(N, V, generator=torch.Generator().manual_seed(2)) < 0.3
    gone[3] = True
    given.views["table"][gone] = torch.nan
    there = ~gone
    expected = (predicted - given["table"])[there].square().mean()
    torch.testing.assert_close(run(method, given)["voxels"], expected)
    method.on_epoch_start(All(given), START)
    assert method.components.weight.isfinite().all()
    given.views["table"].fill_(torch.nan)
    assert run(method, given)["voxels"].item() == 0.0


def test_image_tower_stands_in_first_stage_and_is_slow_in_second() -> None:
    method = method_of(first=0.25)
    mapping, whole = method.stages
    assert (mapping.share, whole.share) == (0.25, 0.75)
    assert not "towers.image.linear.weight".startswith(mapping.moves)
    assert "mapping.weight".startswith(mapping.moves)
    assert method.rates == {"towers.image.": 0.1}
    assert method_of(first=0.0).stages == ()


def test_voxels_are_predicted_from_pictures_alone() -> None:
    method = method_of()
    pictures = torch.randint(0, 256, (5, 3, 2, 2), dtype=torch.uint8)
    predicted = method.predict(pictures)
    assert predicted.shape == (5, V)
    inputs = method.tower("image").input(pictures)
    torch.testing.assert_close(predicted, method.components(method.mapping(method.tower("image")(inputs))))
