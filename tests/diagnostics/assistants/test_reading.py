"""Places of a picture's tokens, and the states at these places, in tiny models of each class."""

from __future__ import annotations

import pytest
import torch

from counterpoint.diagnostics.assistants.reading import (
    Unembedding,
    blocks_of,
    picture_states,
    prompt_states,
    read,
    where,
)
from fixtures.tiny_vlms import BEGIN, IMAGE, KINDS, PAD, tiny

READABLE = ["Llava", "Qwen2VL", "Qwen2_5_VL", "SmolVLM", "InternVL"]


@pytest.mark.parametrize("name", READABLE)
def test_places_are_the_picture_tokens_on_their_grid(name: str) -> None:
    kind = KINDS[name]
    inputs = kind.batch([kind.row(0, 3), kind.row(1, 5)])
    for row, found in zip(inputs["input_ids"], where(tiny(name), inputs), strict=True):
        assert found.positions.tolist() == (row == IMAGE).nonzero()[:, 0].tolist()
        assert found.grid == (2, 2)


@pytest.mark.parametrize("name", READABLE)
def test_states_are_those_of_the_model_itself(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(0, 3), kind.row(1, 5)]
    replies = [[8, 9, 10], [11]]
    found = read(model, kind.batch(rows), replies)
    for row, reply, own in zip(rows, replies, found, strict=True):
        whole = dict(row)
        tail = torch.tensor([reply])
        whole["input_ids"] = torch.cat([row["input_ids"], tail], 1)
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        if "mm_token_type_ids" in row:
            whole["mm_token_type_ids"] = (whole["input_ids"] == IMAGE).long()
        with torch.no_grad():
            out = model(**whole, output_hidden_states=True, use_cache=False)
        prompt = row["input_ids"].shape[1]
        for layer, states in enumerate(out.hidden_states):
            assert torch.allclose(own.words[layer], states[0, prompt:], atol=1e-4)
            at = (whole["input_ids"][0] == IMAGE).nonzero()[:, 0]
            assert torch.allclose(own.patches[layer].flatten(0, 1), states[0, at], atol=1e-4)
        log_p = out.logits[0, prompt - 1 : -1].log_softmax(-1)
        expected = log_p[torch.arange(len(reply)), tail[0]]
        assert torch.allclose(own.log_probabilities, expected, atol=1e-4)


@pytest.mark.parametrize("name", READABLE)
def test_the_lens_at_the_last_layer_is_the_model(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    (own,) = read(model, kind.row(0), [[8, 9, 10]])
    p = Unembedding(model)(own.words[-1], last=True)
    assert torch.allclose(p[:-1, own.tokens[1:]].diag().log(), own.log_probabilities[1:], atol=1e-4)


@pytest.mark.parametrize("name", READABLE)
def test_the_lens_norms_what_the_last_block_gives(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    kept: list[torch.Tensor] = []
    handle = blocks_of(model)[-1].register_forward_hook(
        lambda block, args, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    states = prompt_states(model, kind.row(0))
    handle.remove()
    unembed = Unembedding(model)
    assert len(blocks_of(model)) == states.shape[1] - 1 == 2
    raw = kept[0].reshape(-1, kept[0].shape[-1])[-1:]
    assert torch.allclose(unembed(raw, last=False), unembed(states[:, -1], last=True), atol=1e-5)


def test_states_of_prompts_and_pictures_do_not_depend_on_batch() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    rows = [kind.row(0, 3), kind.row(1, 6)]
    for states in (prompt_states, picture_states):
        together = states(model, kind.batch(rows))
        apart = torch.cat([states(model, row) for row in rows])
        assert together.shape == (2, 3, 16)
        assert torch.allclose(together, apart, atol=1e-4)
    text = {"input_ids": torch.tensor([[BEGIN, 8, 9]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    assert prompt_states(model, text).shape == (1, 3, 16)


def test_places_know_nothing_of_what_comes_after() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    one, other = (read(model, kind.row(0, words=words), [[8]])[0] for words in ([7, 8], [9, 10, 11]))
    assert torch.allclose(one.patches, other.patches, atol=1e-5)
    assert not torch.allclose(one.words, other.words, atol=1e-2)


def test_a_class_token_is_left_out_and_the_last_tile_is_taken() -> None:
    model = tiny("Llava")
    pixels = torch.randn(1, 3, 8, 8)
    ids = torch.tensor([[BEGIN, *[IMAGE] * 5, 8]])
    (found,) = where(model, {"input_ids": ids, "pixel_values": pixels})
    assert (found.positions.tolist(), found.grid) == ([2, 3, 4, 5], (2, 2))
    tiles = torch.randn(1, 3, 3, 8, 8)
    tiles[:, 2] = 0.0  # fills up the row
    ids = torch.tensor([[BEGIN, *[IMAGE] * 4, 7, *[IMAGE] * 4, 8]])
    (found,) = where(model, {"input_ids": ids, "pixel_values": tiles})
    assert (found.positions.tolist(), found.grid) == ([6, 7, 8, 9], (2, 2))


def test_a_grid_has_the_form_of_the_pixels() -> None:
    ids = torch.tensor([[BEGIN, *[IMAGE] * 8, 8]])
    (found,) = where(tiny("Llava"), {"input_ids": ids, "pixel_values": torch.randn(1, 3, 8, 16)})
    assert found.grid == (2, 4)


def test_bad_input() -> None:
    model, kind = tiny("Llava"), KINDS["Llava"]
    row = kind.row(0)
    with pytest.raises(ValueError, match="has no picture token"):
        where(model, row | {"input_ids": torch.tensor([[BEGIN, 8]])})
    with pytest.raises(ValueError, match="are no grid"):
        where(model, row | {"input_ids": torch.tensor([[BEGIN, *[IMAGE] * 3, 8]])})
    with pytest.raises(ValueError, match="one picture"):
        where(model, row | {"pixel_values": torch.randn(3, 3, 8, 8)})
    with pytest.raises(ValueError, match="cannot tell where"):
        where(model, {"input_ids": row["input_ids"]})
    with pytest.raises(ValueError, match="no input_ids"):
        where(model, {"pixel_values": row["pixel_values"]})
    with pytest.raises(ValueError, match="as many replies"):
        read(model, row, [[8], [9]])
    with pytest.raises(ValueError, match="at least one token"):
        read(model, row, [[]])
    blip = KINDS["Blip2"]
    with pytest.raises(ValueError, match="queries"):
        where(tiny("Blip2"), blip.row(0))


def test_a_text_only_model_has_no_places() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=24, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
    )
    with pytest.raises(ValueError, match="no picture token in its configuration"):
        where(model, {"input_ids": torch.tensor([[PAD, 8]])})
