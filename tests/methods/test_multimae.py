"""MultiMAE: which pixels count, which patches are read, and the cross-attention of its decoders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, SIZE, StubImage, begun, loaded, prepared, ready, run, tiny_vit
from torch import Tensor

from counterpoint import methods
from counterpoint.networks.base import ImageTower
from counterpoint.networks.decoder import CrossDecoder
from counterpoint.networks.fusion.cross_attention import CrossAttentionBlock
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.maps import MapPatches, MapSquare
from counterpoint.raw import UNKNOWN
from counterpoint.types import Batch

F64 = torch.float64
PATCHES, PIXELS = 4, 16
CLASSES = ("a", "b", "c", "d")


def build(image: ImageTower | None = None, maps: bool = True, **options: Any) -> Any:
    """Return the method on four patches of pictures, of classes and of depth."""
    tower = MapPatches(MapSquare(SIZE, classes=CLASSES))
    towers = {"image": image or tiny_vit()} | ({"classes": tower, "depth": tower} if maps else {})
    return begun(methods.create("multimae", ready(towers, 0), RECIPE, **options), 0).double()


def given(method: Any, size: int = 5, **present: Tensor) -> Batch:
    """Return a prepared batch whose first examples have unknown pixels."""
    batch = loaded(method, size, dtype=F64)
    views = dict(batch.views)
    if method.maps:
        classes = views["classes"].clone()
        classes[0, :3] = UNKNOWN
        depth = torch.rand(size, SIZE, SIZE, dtype=F64)
        depth[0, 2:5] = torch.nan
        views |= {"classes": classes, "depth": depth}
    return prepared(method, replace(batch, views=views, present=present))


def with_visible(batch: Batch, index: list[list[int]]) -> Batch:
    return replace(batch, views={**batch.views, "image.visible": torch.tensor(index)})


def test_loss_is_the_mean_over_examples_of_known_hidden_pixels() -> None:
    method = build()
    index = [[0, 5], [0, 1], [0, 4], [8, 11]]
    batch = with_visible(given(method, 4), index)
    losses, predicted = run(method, batch), method.predict(batch)
    pixels, _ = method.image_tower.pixels_and_positions(batch["image"])
    side = SIZE // 2

    def of_patch(column: str, row: int, patch: int) -> list[Tensor]:
        y, x = side * (patch // 2), side * (patch % 2)
        values = batch[column][row, y : y + side, x : x + side].flatten()
        out = predicted[column][row, patch].view(PIXELS, len(CLASSES) + 1)
        if column == "depth":
            return [(out[p, -1] - v).abs() for p, v in enumerate(values) if not v.isnan()]
        return [F.cross_entropy(out[p, :-1], v.long()) for p, v in enumerate(values) if v != UNKNOWN]

    errors = (predicted["image"] - pixels).square().mean(2)
    for number, column in enumerate(("image", "classes", "depth")):
        means = []
        for row, visible in enumerate(index):
            hidden = [k for k in range(PATCHES) if number * PATCHES + k not in visible]
            of_row = (
                [errors[row, hidden]]
                if column == "image"
                else [torch.stack(of_patch(column, row, k)) for k in hidden]
            )
            means.append(torch.cat(of_row).mean())
        torch.testing.assert_close(losses[column], torch.stack(means).mean())
    target = (pixels - pixels.mean(2, keepdim=True)) / (pixels.var(2, keepdim=True) + 1e-6).sqrt()
    errors = (predicted["image_standardised"] - target).square().mean(2)
    means = [
        errors[row, [k for k in range(PATCHES) if k not in visible]].mean()
        for row, visible in enumerate(index)
    ]
    torch.testing.assert_close(losses["image_standardised"], torch.stack(means).mean())


def test_example_without_a_hidden_patch_does_not_count() -> None:
    method = build(hidden=0)
    everything, nothing = [0, 1, 2, 3], [4, 5, 6, 7]
    batch = with_visible(given(method, 2), [everything, nothing])
    assert torch.equal(run(method, batch)["image"], run(method, batch.map(lambda t: t[1:]))["image"])
    shown = with_visible(batch, [everything, everything])
    losses = run(method, shown)
    assert losses["image"] == 0
    assert losses["classes"] > 0


def test_missing_column_gives_no_patch_and_no_term() -> None:
    method = build()
    has = torch.tensor([True, False, False, True, False])
    batch = given(method, classes=has, depth=has)
    index = batch["image.visible"]
    assert index.shape == (5, 2)
    assert (index[~has] < PATCHES).all()
    lost = {"classes": torch.full_like(batch["classes"], 3), "depth": torch.full_like(batch["depth"], 7.0)}
    views = {
        name: torch.where(has.view(-1, 1, 1), value, lost[name]) if name in lost else value
        for name, value in batch.views.items()
    }
    other = replace(batch, views=views)
    for name, loss in run(method, batch).items():
        assert torch.equal(loss, run(method, other)[name]), name
    states: list[Tensor] = []
    method.decoders["image"].register_forward_pre_hook(lambda decoder, args: states.append(args[0]))
    method.predict(batch)
    alone = method.image_tower.encode_visible(batch["image"][~has], index[~has]).patches
    assert torch.equal(states[0][~has], alone), "a picture without maps is encoded by its patches alone"


def test_budget_is_shared_and_drawn_by_the_concentration() -> None:
    """Large concentrations make as many patches of each column visible, small ones patches of one column."""
    counts = {}
    for concentration in (1e-3, 1e4):
        index = given(build(hidden=0.25, concentration=concentration), 60)["image.visible"]
        counts[concentration] = torch.stack([(index // PATCHES == k).sum(1) for k in range(3)], 1)
        assert (counts[concentration].sum(1) == 3).all()
    assert (counts[1e4] == 1).all()
    assert (counts[1e-3].max(1).values == 3).double().mean() > 0.9


def test_hidden_pixels_change_no_prediction() -> None:
    method = build()
    batch = with_visible(given(method, 2), [[0, 5], [1, 10]])
    changed = {name: value.clone() for name, value in batch.views.items()}
    changed["image"][0, :, 4:], changed["classes"][0, 4:], changed["depth"][0] = 0.5, 2, 0.0
    before = method.predict(batch)
    for name, predicted in method.predict(replace(batch, views=changed)).items():
        assert torch.equal(predicted, before[name]), name


def test_a_decoder_does_not_add_its_queries_to_what_attention_returns() -> None:
    decoder = CrossDecoder(8, (2, 2), columns=2, own=1, out=3, width=8, depth=1, heads=2)
    initialise(decoder, 0)
    block = decoder.cross
    assert isinstance(block, CrossAttentionBlock)
    x, context = torch.randn(1, 4, 8), torch.randn(1, 3, 8)
    torch.nn.init.zeros_(block.out.weight)
    # Without attention nothing of the queries is left.
    assert torch.equal(block(x, context), block(torch.randn(1, 4, 8), context))
    states, index = torch.randn(1, 2, 8), torch.tensor([[1, 6]])
    assert decoder(states, index)[0].std(0).max() == 0


def test_without_maps_it_is_a_masked_autoencoder_of_pictures() -> None:
    method = build(maps=False, standardised=False)
    batch = given(method, 3)
    assert list(run(method, batch)) == ["image"]
    assert method.passes() == {"image": 0.5} == build().passes()


def test_pictures_alone_are_embedded() -> None:
    method = build()
    assert method.embeds == ("image",)
    assert not any("MapPatches" in type(module).__name__ for module in method.modules())
    assert method.embed("image", torch.randint(256, (2, 3, 9, 9), dtype=torch.uint8)).shape == (2, 12)
    with pytest.raises(ValueError, match="predicts depth and has no depth embeddings"):
        method.embed("depth", torch.zeros(1, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": StubImage()}, "cannot leave patches"),
        ({"hidden": 0.9}, "leaves none visible"),
        ({"hidden": 0.01}, "hides none"),
        ({"maps": False, "hidden": 0}, "leaves nothing to predict"),
    ],
)
def test_towers_and_masks_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)
