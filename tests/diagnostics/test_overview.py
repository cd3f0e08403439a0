from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.diagnostics import alignment, describe, uniformity
from fixtures.tiny import Oracle, Pixels, TinyData

NAMES = {
    "alignment",
    "gap_centroid",
    "gap_separability",
    "uniformity_image",
    "uniformity_text",
    "effective_rank_image",
    "effective_rank_text",
    "components_99_image",
    "components_99_text",
    "std_image",
    "std_text",
    "arithmetic_tone",
    "arithmetic_gender",
}


def test_numbers_are_those_of_the_rows(tiny_data: TinyData) -> None:
    model, rows = Pixels(), tiny_data.splits.test["concepts"]
    found = describe(model, tiny_data, rows)
    image = model.embed("image", tiny_data.images(rows))
    text = model.embed("text", [tiny_data.captions(int(row))[0] for row in rows])
    assert set(found) == NAMES
    assert all(math.isfinite(value) for value in found.values())
    assert found["alignment"] == pytest.approx(alignment(image, text))
    assert found["uniformity_text"] == pytest.approx(uniformity(text))
    assert describe(model, tiny_data, rows) == found


def test_one_row_leaves_needs_pairs_undefined_and_none_is_error(tiny_data: TinyData) -> None:
    found = describe(Pixels(), tiny_data, np.array([3]))
    assert math.isnan(found["uniformity_image"])
    assert math.isnan(found["gap_separability"])
    assert math.isfinite(found["alignment"])
    with pytest.raises(ValueError, match="no rows of 'tiny'"):
        describe(Pixels(), tiny_data, np.array([], dtype=int))


def test_data_without_attributes_has_no_arithmetic() -> None:
    data = TinyData()
    data.labels = {}
    assert set(describe(Pixels(), data, np.arange(20))) == {n for n in NAMES if "arithmetic" not in n}


def test_features_ask_model_once_for_each_input_and_keep_order(tiny_data: TinyData) -> None:
    images = torch.eye(70)
    model = Oracle(tiny_data, images, {f"t{i}": images[i] for i in range(70)})
    features = EmbeddingCache(model, tiny_data)
    torch.testing.assert_close(features.images(np.array([5, 2, 5])), images[[5, 2, 5]])
    torch.testing.assert_close(features.images(np.array([2, 9, 5])), images[[2, 9, 5]])
    torch.testing.assert_close(features.texts(["t3", "t1", "t3"]), images[[3, 1, 3]])
    assert model.seen == {("image", "global"): 3, ("text", "global"): 2}
    assert EmbeddingCache.of(features, tiny_data) is features
    assert EmbeddingCache.of(features, TinyData()) is not features


def test_embeddings_of_a_wrong_shape_or_not_finite_are_errors(tiny_data: TinyData) -> None:
    class Answers(Pixels):
        def __init__(self, answer: Tensor) -> None:
            super().__init__()
            self.answer = answer

        def embed(self, modality: str, inputs: Sequence[str] | Tensor, head: str = "default") -> Tensor:
            return self.answer

    with pytest.raises(ValueError, match=r"embedded 2 image inputs as a tensor of shape \(3, 4\)"):
        EmbeddingCache(Answers(torch.zeros(3, 4)), tiny_data).images(np.array([0, 1]))
    broken = torch.tensor([[0.0, 1.0], [torch.inf, 0.0]])
    with pytest.raises(ValueError, match="1 of 2 text embeddings"):
        EmbeddingCache(Answers(broken), tiny_data).texts(["a", "b"])
