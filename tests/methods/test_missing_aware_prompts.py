"""Missing-aware prompts: plain loops over blocks, the read-out behind all prompts, and prompts by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from method_stubs import batch, build
from torch import Tensor

from counterpoint.networks.fusion.stream_prompts import StreamPrompts
from counterpoint.types import Batch

ROWS, BLOCKS = 4, 2


def prompted(**options: Any) -> tuple[Any, Batch]:
    """Return a method, and a batch of which some examples lack a picture and some a text."""
    method = build("missing-aware-prompts", rows=ROWS, depth=BLOCKS, **options).double().eval()
    given = batch(method, 6, dtype=torch.float64)
    present = {"image": torch.arange(6) % 3 != 1, "text": torch.arange(6) % 3 != 2}
    return method, replace(given, present=present)


def logits(method: Any, given: Batch) -> Any:
    return method.logits(method.encode(given), given)


def attended(block: Any, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return a state after a block, of one example without padding, by attention that is written out."""
    outputs = []
    q, k, v = block.qkv(block.norm_1(x)).chunk(3, 1)
    k, v = torch.cat([keys, k]), torch.cat([values, v])
    for of_q, of_k, of_v in zip(*(it.chunk(block.heads, 1) for it in (q, k, v)), strict=True):
        outputs.append((of_q @ of_k.T * of_q.shape[1] ** -0.5).softmax(1) @ of_v)
    x = x + block.out(torch.cat(outputs, 1))
    return x + block.down(torch.nn.functional.gelu(block.up(block.norm_2(x))))


@pytest.mark.parametrize("at", ["input", "attention"])
def test_prompts_equal_plain_loops(at: Any) -> None:
    method, given = prompted(at=at)
    stream, width = method.joint, method.joint.width
    prompts = method.prompts.rows
    torch.nn.init.normal_(prompts)
    z = method.encode(given)
    vectors = method.fuse_columns(z)
    case = {(True, True): 2, (True, False): 0, (False, True): 1}
    for row, vector in enumerate(vectors):
        tokens = torch.cat([z["image"][row], z["text"][row]])
        x = torch.cat([stream.start.weight, tokens[(tokens != 0).any(1)]])
        of_case = prompts[case[bool(given.present["image"][row]), bool(given.present["text"][row])]]
        nothing = x.new_zeros(0, width)
        for block, rows in zip(stream.blocks, of_case, strict=True):
            if at == "input":
                x = attended(block, torch.cat([rows, x]), nothing, nothing)
            else:
                x = attended(block, x, rows[: ROWS // 2], rows[ROWS // 2 :])
        read = ROWS * BLOCKS if at == "input" else 0
        torch.testing.assert_close(vector, stream.norm(x)[read])


def test_prompts_of_a_case_have_no_part_in_others() -> None:
    method, given = prompted()
    before = logits(method, given)
    with torch.no_grad():
        method.prompts.rows[1] += torch.randn_like(method.prompts.rows[1])  # text alone
    after = logits(method, given)
    changed = ~torch.isclose(before, after).all(1)
    assert changed.tolist() == (~given.present["image"]).tolist()


def test_prompts_and_the_classifier_alone_learn() -> None:
    method, given = prompted()
    trained = {name for name, weight in method.named_parameters() if weight.requires_grad}
    assert {name.partition(".")[0] for name in trained} == {"prompts", "classifier"}
    assert all(not tower.train().training for tower in method.towers.values())
    logits(method, given).sum().backward()
    assert method.prompts.rows.grad.flatten(1).any(1).all()


def test_as_many_rows_or_as_many_parameters() -> None:
    sizes = {
        (prompts, rows): build("missing-aware-prompts", prompts=prompts, rows=rows).prompts.rows.numel()
        for prompts, rows in (("aware", 4), ("shared", 4), ("shared", 12))
    }
    assert sizes["aware", 4] == 3 * sizes["shared", 4] == sizes["shared", 12]
    method, given = prompted(prompts="shared")
    assert method.case_of([given["image"].flatten(2), given["image"].flatten(2)]).tolist() == [0] * 6


def test_no_prompts_are_fused() -> None:
    method, given = prompted(prompts="none")
    other = build("fused", depth=BLOCKS).double().eval()
    assert torch.equal(logits(method, given), logits(other, given))


def test_half_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        StreamPrompts(3, 2, 3, 8, at="attention")
