"""Steering against a slow loop without a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from counterpoint.diagnostics.assistants.reading import blocks_of, prompt_states
from counterpoint.diagnostics.assistants.steering import steered
from fixtures.tiny_vlms import KINDS, tiny

NAMES = ["Llava", "Qwen2VL", "SmolVLM", "InternVL"]


def way(seed: int) -> torch.Tensor:
    return torch.randn(16, generator=torch.Generator().manual_seed(seed))


def written(model: Any, inputs: Any, tokens: int = 6) -> torch.Tensor:
    out: torch.Tensor = model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
    return out[:, inputs["input_ids"].shape[1] :]


def slowly(
    model: Any, inputs: Any, directions: dict[int, torch.Tensor], gamma: float, tokens: int = 6
) -> list[int]:
    """Greedy, everything computed anew for each token; all writing positions are steered each time."""
    prompt = inputs["input_ids"].shape[1]

    def hook(direction: torch.Tensor) -> Any:
        def add(block: Any, args: Any, output: Any) -> Any:
            states = (output[0] if isinstance(output, tuple) else output).clone()
            states[:, prompt - 1 :] += gamma * direction
            return (states, *output[1:]) if isinstance(output, tuple) else states

        return add

    handles = [blocks_of(model)[layer - 1].register_forward_hook(hook(d)) for layer, d in directions.items()]
    whole, said = dict(inputs), []
    try:
        for _ in range(tokens):
            with torch.no_grad():
                token = model(**whole, use_cache=False).logits[0, -1].argmax()
            said.append(int(token))
            for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
                if key in whole:
                    tail = {"input_ids": int(token), "attention_mask": 1, "mm_token_type_ids": 0}[key]
                    whole[key] = torch.cat([whole[key], torch.tensor([[tail]])], 1)
    finally:
        for handle in handles:
            handle.remove()
    return said


@pytest.mark.parametrize("name", NAMES)
def test_gamma_0_and_no_direction_change_nothing(name: str) -> None:
    model, inputs = tiny(name), KINDS[name].row(0)
    plain = written(model, inputs)
    for directions, gamma in (({1: way(0)}, 0.0), ({}, 3.0), ({1: torch.zeros(16)}, 1.0)):
        with steered(model, directions, gamma):
            assert torch.equal(written(model, inputs), plain)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [(1,), (1, 2)])
def test_every_writing_position_is_steered(name: str, layers: tuple[int, ...]) -> None:
    model, inputs = tiny(name), KINDS[name].row(0)
    directions = {layer: way(layer) for layer in layers}
    expected = slowly(model, inputs, directions, 2.0)
    with steered(model, directions, 2.0):
        found = written(model, inputs)[0].tolist()
    assert found == expected
    assert found != written(model, inputs)[0].tolist()


def test_a_padded_batch_is_steered_as_its_rows_are() -> None:
    model, kind = tiny("Llava"), KINDS["Llava"]
    rows = [kind.row(0, 3), kind.row(1, 6)]
    with steered(model, {1: way(1)}, 1.5):
        together = written(model, kind.batch(rows))
        apart = torch.cat([written(model, row) for row in rows])
    assert torch.equal(together, apart)


def test_a_direction_is_added_where_it_was_measured() -> None:
    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    before = prompt_states(model, inputs)[0, 1]
    kept: list[torch.Tensor] = []
    with steered(model, {1: way(2)}, 0.5):
        handle = blocks_of(model)[1].register_forward_pre_hook(
            lambda block, args, kwargs: kept.append((args[0] if args else kwargs["hidden_states"])[0, -1]),
            with_kwargs=True,
        )
        written(model, inputs, 1)
        handle.remove()
    assert torch.allclose(kept[0], before + 0.5 * way(2), atol=1e-5)


def test_hooks_go_when_the_block_ends_even_badly() -> None:
    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    plain = written(model, inputs)
    with pytest.raises(RuntimeError, match="stop"), steered(model, {1: way(0)}, 5.0):
        raise RuntimeError("stop")
    assert torch.equal(written(model, inputs), plain)


def test_bad_input() -> None:
    model, inputs = tiny("Llava"), KINDS["Llava"].row(0)
    for layer in (0, 3):
        with pytest.raises(ValueError, match="layers 1 to 2"), steered(model, {layer: way(0)}, 1.0):
            pass
    for bad in (torch.zeros(5), torch.full((16,), float("inf"))):
        with pytest.raises(ValueError, match="16 finite numbers"), steered(model, {1: bad}, 1.0):
            pass
    with pytest.raises(ValueError, match="needs the cache"), steered(model, {1: way(0)}, 1.0):
        model.generate(**inputs, max_new_tokens=2, use_cache=False)
