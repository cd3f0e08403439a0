"""ALPRO: its labels and loss by loops, crops, the threshold on probabilities, and ALBEF as a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, run
from torch import Tensor

from counterpoint.methods._matching import PATCHES, WORDS
from counterpoint.methods.alpro import CROP, NAMED, PSEUDO, crops, entity_of
from counterpoint.networks.fusion.concat_encoder import ConcatEncoder
from counterpoint.networks.init import initialise
from counterpoint.types import Batch, NamesPatches

F64 = torch.float64


def alpro(**options: Any) -> Any:
    return build("alpro", **options).double().eval()


def crop_of(given: Batch, *rows: list[int]) -> Batch:
    """The batch with crops of some of the stub's two patches, the halves of a picture."""
    crop = torch.tensor(rows, dtype=torch.bool)
    return replace(given, views={**given.views, CROP + "image": crop})


def test_prompter_sees_the_crop_alone_in_its_place_and_labels_it() -> None:
    method = alpro(prompts="a {}+see {}")
    given = crop_of(batch(method, 2, dtype=F64), [1, 0], [0, 1])
    q = method.targets(given)[PSEUDO + "image"]
    (prompter,) = method.prompter
    assert not prompter.training
    black = given["image"].clone()
    black[0, :, 4:], black[1, :, :4] = 0, 0
    c = F.normalize(prompter.projections["image"](prompter.image_tower(black)), dim=1)
    words = [
        prompter.embed("text", [f"a {name}", f"see {name}"]).mean(0) for name in ("red", "green", "blue")
    ]
    tau = prompter.objective.temperature.value
    torch.testing.assert_close(q, (c @ torch.stack(words).double().T / tau).softmax(1), rtol=1e-5, atol=1e-6)
    permuted = alpro(prompts="a {}+see {}", permuted=True)
    torch.testing.assert_close(permuted.targets(given)[PSEUDO + "image"], q[[1, 0]])


def test_fused_patches_of_the_crop_name_it_beside_the_whole_picture() -> None:
    method = alpro()
    given = crop_of(batch(method, 3, dtype=F64), [1, 0], [0, 1], [1, 1])
    z = method.encode(given)
    _, states = method.joint.both(z[WORDS + "text"], z[PATCHES + "image"])
    pooled = torch.stack([states[0, 0], states[1, 1], states[2].mean(0)])
    torch.testing.assert_close(z[NAMED + "image"], method.entity_head(pooled))
    free = alpro(text_free=True)
    other = replace(given, views={**given.views, "text": given["text"].flip(1)})
    assert torch.equal(*(free.encode(x)[NAMED + "image"] for x in (given, other)))


def test_crops_are_left_out_by_their_largest_probability_and_not_by_its_index() -> None:
    method = alpro(threshold=0.6)
    given = batch(method, 3, dtype=F64)
    z = method.second_round(method.targets(given) | method.encode(given), given)
    # The surest are the first and the last entity; none of the second row is sure.
    z[PSEUDO + "image"] = torch.tensor([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]], dtype=F64)
    log_p, q = z[NAMED + "image"].log_softmax(1), z[PSEUDO + "image"]
    expected = -((q[0] * log_p[0]).sum() + (q[2] * log_p[2]).sum()) / 2
    torch.testing.assert_close(method.losses(z, given, LATE)["naming"], expected)
    z[PSEUDO + "image"] = torch.full((3, 3), 1 / 3, dtype=F64)
    assert method.losses(z, given, LATE)["naming"].item() == 0


def test_without_naming_it_is_albef_in_one_stream() -> None:
    given = batch(alpro(), 6, dtype=F64)
    ours = alpro(naming=0.0)
    theirs = build("albef", alpha=0.0, queue=0, fusion="concat").double().eval()
    theirs.load_state_dict({n: t for n, t in ours.state_dict().items() if not n.startswith("entity_head")})
    results: list[dict[str, Tensor]] = []
    for method in (ours, theirs):
        torch.manual_seed(0)
        results.append(run(method, given))
    assert set(results[0]) == set(results[1])
    for name, loss in results[1].items():
        torch.testing.assert_close(results[0][name], loss)


def test_crops_are_boxes_of_whole_patches_within_the_range() -> None:
    torch.manual_seed(0)
    drawn = crops(300, 14, 14)
    for mask in drawn:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
        assert rows.nonzero().diff(dim=0).eq(1).all()
        height, width = int(rows.sum()), int(columns.sum())
        assert height * width <= 0.5 * 196
        assert (height + 1) * (width + 1) >= 0.3 * 196 or 14 in (height, width)
    assert drawn.any(0).all()
    assert crops(50, 1, 2).flatten(1).any(1).all()  # no box is empty, however few the patches


def test_words_and_patches_see_each_other_and_no_padding() -> None:
    encoder = ConcatEncoder(8, 6, patches=3, depth=2, heads=2).double()
    initialise(encoder, 0)
    words, patches = torch.randn(2, 4, 8, dtype=F64), torch.randn(2, 3, 6, dtype=F64)
    words[:, 2:] = 0
    of_words, of_patches = encoder.both(words, patches)
    short = encoder.both(words[:, :2], patches)
    torch.testing.assert_close(of_words[:, :2], short[0])
    torch.testing.assert_close(of_patches, short[1])
    assert not torch.allclose(of_patches, encoder.both(-words, patches)[1])
    assert not torch.allclose(of_words[:, :2], encoder.both(words, -patches)[0][:, :2])


def test_maps_name_each_patch_beside_an_empty_text() -> None:
    method = build("alpro").eval()
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    maps = method.name_maps(pictures, ["a red hill", "background", "blue"])
    assert maps.shape == (2, 3, 2, 1)
    assert not maps[:, 1].any()
    every = method.name_maps(pictures, ["red", "green", "blue"])
    torch.testing.assert_close(every.sum(1), torch.ones(2, 2, 1))
    torch.testing.assert_close(maps[:, [0, 2]], every[:, [0, 2]])
    assert entity_of("redder", ["red"]) == -1
    assert isinstance(method, NamesPatches)


def test_a_prompter_and_places_for_entities_are_required() -> None:
    with pytest.raises(ValueError, match="name a label with tags"):
        build("alpro", target=None)
    with pytest.raises(ValueError, match="place of the entity"):
        build("alpro", prompts="a picture")
    with pytest.raises(ValueError, match="name a run of clip"):
        build("alpro", prompter="a run of byol")
