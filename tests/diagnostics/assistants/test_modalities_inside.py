"""Similarities of pictures and words by layer, the weights that both use, and skipped computation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from counterpoint.diagnostics.assistants.modalities import (
    ActivatedWeights,
    Reduction,
    TokenSample,
    layer_similarity,
    mask_overlap,
    norm_range,
    similarity,
    similarity_by_layer,
    skipping,
    token_sample,
    untrained,
)
from counterpoint.diagnostics.assistants.reading import ReplyReading, blocks_of, read, where
from fixtures.tiny_vlms import KINDS, tiny


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


@pytest.mark.parametrize("reduction", ["pooled", "mean", "median", "max", "min", "max-mean"])
def test_similarity_of_all_pairs_of_examples_by_loops(reduction: Reduction) -> None:
    a, b = drawn(0, 3, 2, 4, 5), drawn(1, 3, 2, 3, 5)

    def loops(x: torch.Tensor, y: torch.Tensor) -> float:
        if reduction == "pooled":
            return cosine(x.mean(0), y.mean(0))
        matrix = np.array([[cosine(i, j) for j in y] for i in x])
        if reduction == "max-mean":
            return float(matrix.max(1).mean())
        return float({"mean": np.mean, "median": np.median, "max": np.max, "min": np.min}[reduction](matrix))

    for layer in range(2):
        values = np.array([[loops(x[layer], y[layer]) for y in b] for x in a])
        for pairs, expected in (
            ("all", values.mean()),
            ("matching", values.diagonal().mean()),
            ("others", values[~np.eye(3, dtype=bool)].mean()),
        ):
            by_layer = similarity_by_layer(a, b, reduction, pairs)  # type: ignore[arg-type] # a literal
            assert float(by_layer[layer]) == pytest.approx(expected, abs=1e-5)


def test_the_highest_similarity_rises_with_the_number_of_tokens() -> None:
    few, many = (similarity(drawn(0, n, 8), drawn(1, n, 8), "max") for n in (2, 64))
    assert many > few


def test_norms_and_similarity_of_layers() -> None:
    states = torch.tensor([[[[3.0, 4.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]]]])
    assert norm_range(states).tolist() == [[1.0, 1.0, 5.0], [2.0, 2.0, 2.0]]
    assert layer_similarity(states).tolist() == pytest.approx([(0.8 + 1.0) / 2])
    assert layer_similarity(drawn(0, 2, 5, 3, 4), 2).shape == (3,)


def test_samples_have_as_many_tokens_a_side_and_no_sinks() -> None:
    patches, words = torch.ones(2, 2, 3, 4), torch.ones(2, 4, 4)
    patches[1, 0, 1] *= 100
    words[0, 2] *= 100
    reading = ReplyReading(patches, words, words, torch.zeros(4, dtype=torch.long), torch.zeros(4))
    for seed in range(5):
        sample = token_sample(reading, 3, np.random.default_rng(seed))
        assert sample is not None
        assert len(set(sample.patches.tolist())) == 3
        assert 1 not in sample.patches
        assert sample.words.tolist() == [0, 1, 3]
    assert token_sample(reading, 4, np.random.default_rng(0)) is None


def inside(seed: int = 0) -> tuple[Any, dict[str, Any], list[list[int]]]:
    kind = KINDS["Llava"]
    return tiny("Llava"), kind.batch([kind.row(seed, 3), kind.row(seed + 1, 5)]), [[8, 9, 10], [9, 11, 7]]


def test_masks_keep_the_most_important_weights_of_each_output_row() -> None:
    model, inputs, replies = inside()
    samples = [
        TokenSample(torch.tensor([0, 2]), torch.tensor([0, 1])),
        TokenSample(torch.tensor([1, 3]), torch.tensor([1, 2])),
    ]
    used = ActivatedWeights(model).update(inputs, replies, samples).update(inputs, replies, samples)
    layer = blocks_of(model)[0].self_attn.q_proj
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    read(model, inputs, replies)
    handle.remove()
    prompt, at = inputs["input_ids"].shape[1], where(model, inputs)
    tokens = {
        "picture": [(row, int(at[row].positions[k])) for row, one in enumerate(samples) for k in one.patches],
        "text": [(row, prompt + int(k)) for row, one in enumerate(samples) for k in one.words],
    }
    for modality, positions in tokens.items():
        x = torch.stack([seen[0][row, position] for row, position in positions]).double()
        importance = layer.weight.detach().double().abs() * x.norm(dim=0)
        mask = used.masks(modality)["0.self_attn.q_proj"]
        assert (mask.sum(1) == importance.shape[1] // 2).all()
        for row, of_row in zip(mask, importance, strict=True):
            assert of_row[row].min() >= of_row[~row].max()
        everywhere = importance > importance.median()
        assert not torch.equal(mask, everywhere)  # one threshold for a whole layer is another mask
        assert used.masks(modality, sparsity=0.75)["0.self_attn.q_proj"].sum() == mask.sum() / 2
    overlaps = mask_overlap(used.masks("picture"), used.masks("text"))
    assert len(overlaps) == sum(isinstance(m, nn.Linear) for b in blocks_of(model) for m in b.modules())
    assert all(0 < value < 1 for value in overlaps.values())
    assert {*mask_overlap(used.masks("text"), used.masks("text")).values()} == {1.0}


def test_random_masks_overlap_by_a_third() -> None:
    a, b = ({"0": drawn(seed, 400, 64).argsort(1) < 32} for seed in (0, 1))
    assert mask_overlap(a, b)["0"] == pytest.approx(1 / 3, abs=0.01)


def test_an_untrained_model_has_the_shape_and_weights_of_its_own() -> None:
    model = tiny("Llava")
    fresh, again, other = (untrained(model, seed) for seed in (0, 0, 1))
    shapes = [{name: p.shape for name, p in m.named_parameters()} for m in (model, fresh)]
    assert shapes[0] == shapes[1]
    weights = [blocks_of(m)[0].mlp.up_proj.weight for m in (model, fresh, again, other)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[3])


@pytest.mark.parametrize(("part", "layer"), [*product(("mlp", "block"), (0, 1))])
def test_skipping_changes_states_there_and_keeps_keys(part: Any, layer: int) -> None:
    model, inputs, _ = inside()
    pictures = inputs["input_ids"] == model.config.image_token_id

    def states(*skipped: int) -> tuple[Any, Any]:
        with torch.no_grad(), skipping(model, pictures, skipped, part):
            out = model(**inputs, output_hidden_states=True, use_cache=True)
        # What the second block is given: hidden states are noted before the hooks of a block change them.
        return (out.hidden_states[0], given.pop(), *out.hidden_states[2:]), out.past_key_values

    given: list[Any] = []
    blocks_of(model)[1].register_forward_pre_hook(
        lambda block, args, kwargs: given.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    plain, keys = states()
    changed, other_keys = states(layer)
    before, after = plain[layer], changed[layer + 1]
    if layer == 0:  # later layers pass through the final norm
        assert torch.allclose(after[~pictures], plain[1][~pictures], atol=1e-5)
        if part == "block":
            assert torch.allclose(after[pictures], before[pictures], atol=1e-5)
        else:
            assert not torch.allclose(after[pictures], plain[1][pictures])
            assert not torch.allclose(after[pictures], before[pictures])  # attention is there
    assert torch.allclose(keys.layers[layer].keys, other_keys.layers[layer].keys, atol=1e-5)
    assert torch.allclose(states()[0][-1], plain[-1])  # nothing is left behind


def test_written_tokens_are_processed_as_usual() -> None:
    model, inputs, _ = inside()
    nowhere = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    with skipping(model, nowhere, [0, 1]):
        same = model.generate(**inputs, **options)
    assert torch.equal(same, model.generate(**inputs, **options))
    with skipping(model, ~nowhere, [0, 1], "block"):
        model.generate(**inputs, **options)


def test_bad_input() -> None:
    model, inputs, _ = inside()
    some = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
    with pytest.raises(ValueError, match="layer 2: the model has blocks 0 to 1"), skipping(model, some, [2]):
        pass
    with pytest.raises(ValueError, match="positions of shape"), skipping(model, some[:, 1:], [0]):
        model(**inputs)
    with pytest.raises(ValueError, match="compares examples by index"):
        similarity_by_layer(torch.ones(2, 1, 1, 2), torch.ones(3, 1, 1, 2), pairs="others")
