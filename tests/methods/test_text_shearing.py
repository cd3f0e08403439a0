"""Text shearing: captions by their slots, and what is cut off those that were written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, WordTokenizer, batch, build, prepared, run
from torch import Tensor

from counterpoint.data import views
from counterpoint.data.views.captions import text
from counterpoint.losses import InfoNCELoss
from counterpoint.recipes import override
from counterpoint.types import Batch

F64 = torch.float64
END = WordTokenizer.end


def padded(*rows: list[int]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def test_view_shows_caption_of_its_slot_or_first_sentence_of_it() -> None:
    captions = [["a dog", "There is a dog. It wears a hat.", "No end"], ["a cat"]]
    keys = views.key(0, 0, np.arange(2), "text.1")
    shown = {
        name: text(name, RECIPE.augmentation).apply(captions, keys)
        for name in ("caption:0", "caption:1", "sentence:1", "sentence:2")
    }
    assert shown == {
        "caption:0": ["a dog", "a cat"],
        "caption:1": ["There is a dog. It wears a hat.", ""],
        "sentence:1": ["There is a dog.", ""],
        "sentence:2": ["No end", ""],
    }
    with pytest.raises(ValueError, match=r"unknown text view 'caption'.*caption:NUMBER"):
        text("caption", RECIPE.augmentation)


def test_loss_mean_over_slots_and_other_slots_are_no_negatives() -> None:
    method = build("text-shearing", slots=3, shear=False).double()
    given = batch(method, 7, dtype=F64)
    x = F.normalize(method.project("image", method.tower("image")(given["image"]), "global"), dim=-1)
    tau = method.objective.temperature.value
    expected = 0.0
    for name in ("text", "text.1", "text.2"):
        y = F.normalize(method.project("text", method.tower("text")(given[name]), "global"), dim=-1)
        s = (x @ y.T / tau).detach()
        for i in range(7):
            expected += float(s[i].logsumexp(0) + s[:, i].logsumexp(0) - 2 * s[i, i]) / 2 / 7 / 3
    assert float(run(method, given)["infonce"].detach()) == pytest.approx(expected)


def test_row_without_slot_leaves_term_slot_without_rows_counts() -> None:
    method = build("text-shearing", slots=3, shear=False).double()
    given = batch(method, 6, dtype=F64)
    second = given["text.1"].clone()
    second[[1, 4]] = padded([END, 0, 0, 0, 0])
    nothing = padded([END, 0, 0, 0, 0]).expand(6, -1)
    some = replace(given, views={**given.views, "text.1": second, "text.2": nothing})
    x, y, z = (
        F.normalize(method.project(c, method.tower(c)(some[name]), "global"), dim=-1)
        for c, name in (("image", "image"), ("text", "text"), ("text", "text.1"))
    )
    rows, loss = torch.tensor([0, 2, 3, 5]), InfoNCELoss(method.objective.temperature)
    expected = (loss(x, y) + loss(x[rows], z[rows])) / 2
    torch.testing.assert_close(run(method, some)["infonce"], expected)
    alone = replace(given, views={**given.views, "text.1": nothing, "text.2": nothing})
    assert float(run(method, alone)["infonce"].detach()) == pytest.approx(
        float(run(build("clip").double(), given)["clip"].detach()), rel=1e-12
    )


def test_written_captions_cut_to_mean_of_raw_ones_and_these_not() -> None:
    method = build("text-shearing", slots=2)
    raw = padded([1, 2, END], [1, 2, 3, 4, 5, END])  # 4.5 tokens in the mean, and so 5
    written = padded([7, 8, END], [6, 7, 8, 9, 10, 11, END])
    given = Batch(torch.arange(2), {"image": torch.rand(2, 3, 8, 8), "text": raw, "text.1": written})
    cut = prepared(method, given)
    assert torch.equal(cut["text"], raw)
    assert cut["text.1"].tolist() == [[7, 8, END, 0, 0], [6, 7, 8, 9, END]]
    assert method.raw.tolist() == [0, 0]
    method.after_step({}, cut, LATE)
    assert method.raw.tolist() == [9, 2]
    # Of all raw captions so far, not of this batch alone: 9 + 24 tokens of four.
    long = padded(*[[1] * 11 + [END]] * 2)
    again = prepared(method, Batch(given.ids, {**given.views, "text": long, "text.1": long}))
    assert again["text.1"].tolist() == [[1] * 8 + [END]] * 2
    left = prepared(build("text-shearing", slots=2, shear=False), given)
    assert torch.equal(left["text.1"], written)


def test_sentences_are_taken_before_tokens_are_counted() -> None:
    sheared, whole = (build("text-shearing", slots=3, shear=shear).views for shear in (True, False))
    assert [sheared[name].augmentation for name in ("text", "text.1", "text.2")] == [
        "caption:0",
        "sentence:1",
        "sentence:2",
    ]
    assert [whole[name].augmentation for name in ("text", "text.1")] == ["caption:0", "caption:1"]
    assert build("text-shearing", slots=3).passes() == {"image": 1, "text": 3}


def test_a_recipe_that_leaves_one_caption_is_refused() -> None:
    shared = override(RECIPE, {"augmentation.captions": "shared"})
    with pytest.raises(ValueError, match=r"write augmentation\.captions=each"):
        build("text-shearing", recipe=shared)
