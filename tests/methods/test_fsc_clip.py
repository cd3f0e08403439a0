"""FSC-CLIP: its limits, what is masked, and negatives of a user's captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import RECIPE, StubText, build, loaded, ready, run

from counterpoint import methods
from counterpoint.data import views
from counterpoint.data.views import false_captions
from counterpoint.data.views.captions import TextView
from counterpoint.losses import LocalNegativesLoss
from counterpoint.losses.local_negatives import scores
from counterpoint.testing._stubs import StubImage

F64 = torch.float64
RELATED = {"a": {"red": ("blue",), "blue": ("red",)}, "n": {"cat": ("dog",), "dog": ("cat",)}}


def two_columns(name: str, **options: Any) -> Any:
    towers = ready({"image": StubImage(), "text": StubText()}, 0)
    return methods.create(name, towers, RECIPE, **options).double()


def test_without_weights_it_is_clip() -> None:
    plain, method = two_columns("clip"), two_columns("fsc-clip", global_weight=0, local_weight=0)
    method.load_state_dict({**method.state_dict(), **plain.state_dict()}, strict=False)
    given = loaded(method, 8, dtype=F64)
    ours, theirs = run(method, given), run(plain, given)
    assert ours.keys() == theirs.keys() == {"clip"}
    torch.testing.assert_close(ours["clip"], theirs["clip"])


def test_without_focus_and_smoothing_it_is_cross_entropy() -> None:
    logits = torch.randn(5, 4, dtype=F64)
    valid = torch.ones(5, 4, dtype=torch.bool)
    loss = LocalNegativesLoss(1.0, smoothing=0.0, gamma=0.0)
    expected = F.cross_entropy(logits, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(loss.of_logits(logits, valid), expected)


def test_negatives_that_do_not_count_are_out_of_the_softmax() -> None:
    loss, logits = LocalNegativesLoss(1.0), torch.randn(6, 4, dtype=F64, requires_grad=True)
    valid = torch.tensor([[True, True, False, True]]).expand(6, 4).clone()
    valid[0, 1:] = False  # an example without negatives has no part in the mean
    value = loss.of_logits(logits, valid)
    torch.testing.assert_close(value, loss.of_logits(logits[1:, [0, 1, 3]], valid[1:, [0, 1, 3]]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[0].any()
    assert not gradient[:, 2].any()
    assert gradient.isfinite().all()


def test_alike_patches_have_equal_weights_without_a_division_by_zero() -> None:
    patches = torch.ones(2, 1, 3, dtype=F64).expand(2, 4, 3).requires_grad_(True)
    tokens = torch.randn(2, 2, 5, 3, dtype=F64)
    some = torch.ones(2, 2, 5, dtype=torch.bool)
    s = scores(patches, tokens, some, torch.tensor(2.0, dtype=F64))
    cosines = F.normalize(tokens, dim=-1) @ F.normalize(patches[0, 0], dim=-1)
    torch.testing.assert_close(s, (2 * cosines).logsumexp(2))
    (gradient,) = torch.autograd.grad(s.sum(), patches)
    assert gradient.isfinite().all()


def test_start_token_and_padding_are_masked_and_the_end_token_is_not() -> None:
    method = build("fsc-clip")
    tokens = method.text_tower.tokenizer(["red cat", "red"])
    mask = method._mask(tokens)
    assert mask.sum(1).tolist() == [3, 2]
    end = tokens == method.text_tower.tokenizer.end
    assert (mask & end).any(1).all()
    assert method._says(method.text_tower.tokenizer(["red", ""])).tolist() == [True, False]


def test_captions_without_negatives_train_as_pairs() -> None:
    method = two_columns("fsc-clip")
    given = loaded(method, 6, dtype=F64)
    assert {view.like for name, view in method.views.items() if "." in name} == {"text"}
    empty = method.text_tower.tokenizer([""]).expand(6, -1)
    none = {**given.views, **dict.fromkeys(method.negatives, empty)}
    losses = run(method, type(given)(given.ids, none, given.labels))
    assert losses["clip"] > 0
    assert losses["local_negatives"] == losses["global_negatives"] == 0


@pytest.mark.parametrize(
    ("caption", "way", "expected"),
    [
        ("a red cat", "swap", [""]),
        ("a red cat and a red dog", "swap", ["a red dog and a red cat"]),
        ("a red cat", "replace", ["a blue cat", "a red dog"]),
        ("of the", "replace", [""]),
        ("red cat", "shuffle", [""]),
        ("a red cat", "shuffle", ["cat a red"]),
    ],
)
def test_a_false_caption_has_one_change(
    caption: str, way: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(false_captions, "load", lambda: RELATED)
    view, keys = TextView(false=way), views.key(0, 0, np.arange(20), "text")
    assert {*view.apply([[caption]] * 20, keys)} == {*expected}


def test_words_of_a_kind_share_what_stands_above_them(tmp_path: Any) -> None:
    noun = "{0} 05 n 01 {1} 0 {2} | gloss\n"
    (tmp_path / "data.noun").write_text(
        noun.format("00000001", "animal", "000")
        + noun.format("00000002", "cat", "001 @ 00000001 n 0000")
        + noun.format("00000003", "dog", "001 @ 00000001 n 0000")
    )
    index = "{0} n 1 {1} 1 0 {2}  \n"
    (tmp_path / "index.noun").write_text(
        index.format("animal", "0", "00000001")
        + index.format("cat", "1 @", "00000002")
        + index.format("dog", "1 @", "00000003")
    )
    assert false_captions._siblings(tmp_path, "n") == {"animal": (), "cat": ("dog",), "dog": ("cat",)}
