"""From places to pixels: interpolation, labelling, boxes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.items import Regions
from counterpoint.evaluation.maps import (
    box_iou,
    boxes,
    centre_square,
    enlarge,
    labelling,
    maps_of,
    phrase_maps,
)
from counterpoint.evaluation.task import NotApplicableError
from fixtures.hand_made import Blind, ItemData


def features() -> EmbeddingCache:
    return EmbeddingCache(Blind(), ItemData())


def test_map_similarity_at_each_place_between_it_is_interpolated() -> None:
    places = torch.randn(2, 3, 3, 5, generator=torch.Generator().manual_seed(0))
    phrases = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    same = phrase_maps(features(), places, phrases, (3, 3))
    torch.testing.assert_close(same, torch.einsum("khwd,kd->khw", places, phrases))
    larger = phrase_maps(features(), places, phrases, (9, 9))
    torch.testing.assert_close(larger[:, 1::3, 1::3], same)


def test_maps_are_the_model_s_own_where_it_has_them() -> None:
    class Maps(Blind):
        maps_phrases = True

        def phrase_maps(self, pictures: torch.Tensor, phrases: Sequence[str]) -> torch.Tensor:
            return torch.stack([torch.full((2, 2), float(len(phrase))) for phrase in phrases])

    pictures = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    cache = EmbeddingCache(Maps(), ItemData())
    assert maps_of(cache, pictures, ["cat", "mouse"], (4, 4), "task").amax((1, 2)).tolist() == [3, 5]
    Maps.maps_phrases = False
    with pytest.raises(NotApplicableError, match="embed_patches"):
        maps_of(cache, pictures, ["cat", "mouse"], (4, 4), "task")


def test_a_map_that_differs_by_rounding_alone_is_flat() -> None:
    phrase = torch.full((1, 65), 65**-0.5)
    places = phrase[:, None, None].repeat(1, 6, 6, 1) + 1e-8
    found = phrase_maps(features(), places, phrase, (24, 24))
    assert (found == found[0, 0, 0]).all()


@pytest.mark.parametrize("panel", [1, 2, 64])
def test_each_pixel_goes_to_most_similar_name_whatever_the_panel(panel: int) -> None:
    places = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(0))
    names = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    label, best = labelling(features(), places, names, (12, 12), panel)
    maps = enlarge((places @ names.T).permute(2, 0, 1)[None], (12, 12))[0]
    assert torch.equal(label, maps.argmax(0))
    torch.testing.assert_close(best, maps.amax(0))


def test_a_pixel_that_several_names_claim_goes_to_none() -> None:
    names = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    places = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert labelling(features(), places, names, (1, 2))[0].tolist() == [[-1, 2]]


def test_the_square_in_the_middle_is_what_towers_see() -> None:
    mask = torch.arange(15).view(1, 3, 5) % 5 >= 3
    assert centre_square(mask).tolist() == [[[False, False, True]] * 3]
    assert torch.equal(centre_square(mask.mT), centre_square(mask).mT)


def test_boxes_of_parts_come_largest_first() -> None:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[0, 0] = mask[3:5, 2:5] = True
    assert boxes(mask) == [(2, 3, 5, 5), (0, 0, 1, 1)]
    assert boxes(torch.zeros(2, 2, dtype=torch.bool)) == []


def test_overlap_of_boxes() -> None:
    assert box_iou((0, 0, 4, 4), (0, 0, 4, 4)) == 1
    assert box_iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0
    assert box_iou((0, 0, 4, 2), (2, 0, 6, 2)) == pytest.approx(4 / 12)


def test_regions_are_a_form() -> None:
    with pytest.raises(LookupError):
        ItemData().items(Regions, ItemData().ids)
