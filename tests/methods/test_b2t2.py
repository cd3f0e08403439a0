"""B2T2: which words get which box, names and boxes without each other, and the limit without boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from method_stubs import batch, build, loaded
from torch import Tensor

from counterpoint.networks import BytePairTokenizer
from counterpoint.networks.fusion.box_references import MOST, BoxReferences
from counterpoint.testing._stubs import WordTokenizer
from counterpoint.types import Batch

TEXTS = ["what colour is the cat [2]?", "[1] [9] 3 [12] [10]", "no box", ""]
NAMED = [[2], [1, 9], [], []]


@pytest.mark.parametrize("vocabulary", [259, 600])
def test_words_name_boxes_by_their_numbers(vocabulary: int) -> None:
    tokenizer = BytePairTokenizer.train(["is the cat [1]?", "[12] [10] [11]"], vocabulary, 40)
    references = BoxReferences(tokenizer)(tokenizer(TEXTS))
    assert [[1 + box for box in of.nonzero()[:, 1].tolist()] for of in references] == NAMED
    assert references.sum(2).max() == 1


def test_whole_words_name_boxes_where_a_tokenizer_does_not_split_them() -> None:
    references = BoxReferences(WordTokenizer())(WordTokenizer()(["cat [2] [1]", "[3]"]))
    assert references.nonzero().tolist() == [[0, 1, 1], [0, 2, 0], [1, 0, 2]]


def test_tokenizer_that_does_not_tell_numbers_apart_is_refused() -> None:
    class Short(WordTokenizer):
        def __call__(self, captions: Any) -> Tensor:
            return super().__call__(["[1]" if "[" in text else text for text in captions])

    with pytest.raises(ValueError, match="tell them apart"):
        BoxReferences(Short())


def named(numbers: list[list[int]], **options: Any) -> tuple[Any, Batch]:
    """Return a method, and a batch of three boxes a picture whose texts are ``cat`` and these names of boxes."""
    method = build("b2t2", **options).double().eval()
    given = loaded(method, len(numbers), dtype=torch.float64)
    texts = [" ".join(["cat", *(f"[{number}]" for number in of)]) for of in numbers]
    given.views["boxes"][:] = torch.tensor([[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0, 0, 1, 1]])
    return method, replace(given, views={**given.views, "text": WordTokenizer()(texts)})


def tokens(method: Any, given: Batch) -> tuple[Tensor, Tensor]:
    """Return the tokens of texts before and after boxes are bound to them."""
    z, read = method.encode(given), []
    handle = method.joint.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    method.fuse_columns(z)
    handle.remove()
    return z["text"], read[0][:, -z["text"].shape[1] :]


def test_named_boxes_are_added_behind_tanh_and_all_words_get_the_bias() -> None:
    method, given = named([[1], [2], [3, 1]])
    torch.nn.init.normal_(method.visual.bias)
    before, after = tokens(method, given)
    # The stub has two patches, one for each half of the picture.
    upper, lower = method.image_tower.patches(given["image"])[..., 0].unbind(-1)
    both = (upper + lower) / 2
    for row, boxes in enumerate([[None, upper], [None, lower], [None, both, upper]]):
        for position, box in enumerate(boxes):
            shift = method.visual.bias if box is None else method.visual(box[row])
            torch.testing.assert_close(after[row, position], before[row, position] + shift.tanh())
    assert not after[0, -1].any()  # padding stays padding


def test_bias_starts_at_zero() -> None:
    method, given = named([[], []])
    before, after = tokens(method, given)
    assert torch.equal(before, after)


def test_name_without_its_box_is_a_word_like_any_other() -> None:
    method, given = named([[1], [2], [7]])
    torch.nn.init.normal_(method.visual.bias)
    given["boxes"][:, 1:] = torch.nan
    before, after = tokens(method, given)
    bias = method.visual.bias.tanh()
    torch.testing.assert_close(after[1:, 1], before[1:, 1] + bias)
    assert not torch.isclose(after[0, 1], before[0, 1] + bias).all()
    z = method.encode(given)
    method.logits(z, given).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in method.parameters())


def test_more_boxes_than_names_and_boxes_that_no_word_names_have_no_part() -> None:
    method, given = named([[1], [3]])
    boxes = given["boxes"]
    more = replace(given, views={**given.views, "boxes": boxes[:, [0, 1, 2] + [0] * MOST]})
    other = replace(given, views={**given.views, "boxes": boxes[:, [0, 0, 2]]})
    expected, *same = (method.logits(method.encode(it), it) for it in (given, more, other))
    for logits in same:
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("lacking", [{"boxes"}, {"image"}, {"text"}, {"image", "boxes"}])
@pytest.mark.parametrize("bind", ["words", "tokens", "none"])
def test_examples_that_lack_a_column_are_classified_as_in_training(bind: str, lacking: set[str]) -> None:
    method, given = named([[1], [2], [3, 1]], bind=bind)
    absent = {column: torch.full((3,), column not in lacking) for column in method.columns}
    given = replace(given, present=absent)
    expected = method.logits(method.encode(given), given)
    z = {
        name: value if column not in lacking else value.new_zeros(3, method.tower(column).width)
        for column in method.columns
        for name, value in method.seen(column, given[column]).items()
    }
    torch.testing.assert_close(method.logits(z, given), expected)
    assert expected.isfinite().all()


def test_bind_none_is_fused_and_tokens_are_one_for_each_box() -> None:
    given = batch(build("b2t2"), 8, dtype=torch.float64)
    one = build("b2t2", bind="none").double()
    other = build("fused", pictures="whole").double()
    assert dict(one.named_parameters()).keys() == dict(other.named_parameters()).keys()
    assert torch.equal(one.logits(one.encode(given), given), other.logits(other.encode(given), given))
    method, given = named([[1], [2]], bind="tokens")
    read: list[Tensor] = []
    method.joint.register_forward_pre_hook(lambda module, inputs: read.append(inputs[1]))
    given["boxes"][0, 2] = torch.nan
    method.fuse_columns(method.encode(given))
    assert read[0].sum(1).tolist() == [1 + 2 + 3, 1 + 3 + 3]
