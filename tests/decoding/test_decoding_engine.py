"""The engine: many branches in step with transformers' own loops."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from slow import beam, greedy, next_logits, sampled, sound
from torch import Tensor

from counterpoint.decoding import (
    BoundDecoding,
    DescriptionContrastive,
    ExampleContrastive,
    LanguageContrastive,
    LeadingQueryContrastive,
    Plain,
    Ritual,
    VisualContrastive,
    VisualDebias,
    describe,
)
from fixtures.tiny_vlms import END, IMAGE, KINDS, PAD, Inputs, Kind, tiny

NAMES = list(KINDS)
ALPHA, BETA = 1.5, 0.1


def contrast(logits: Sequence[Tensor], alpha: float = ALPHA) -> Tensor:
    """VCD's formula, over probabilities."""
    own, other = logits
    p = own.softmax(-1)
    scores = (1 + alpha) * own - alpha * other
    return scores.masked_fill(p < BETA * p.max(), -torch.inf)


def without_picture(kind: Kind, row: Inputs) -> Inputs:
    ids = torch.tensor([[token for token in row["input_ids"][0].tolist() if token not in kind.slot]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def generate(name: str, inputs: Inputs, bound: Any = None, steps: int = 6, **options: Any) -> list[list[int]]:
    """The generated tokens, of the model's own loop or with a method."""
    model = tiny(name)
    options = {"do_sample": False, "max_new_tokens": steps} | options
    out = model.generate(**inputs, **options, custom_generate=bound)
    start = out.shape[1] - steps if KINDS[name].name.endswith("T5") else inputs["input_ids"].shape[1]
    tokens: list[list[int]] = out[:, start:].tolist()
    return tokens


def leading(name: str, inputs: Inputs, other: Inputs, alpha: float = ALPHA) -> BoundDecoding:
    return LeadingQueryContrastive(alpha=alpha, beta=BETA).on(inputs, model=tiny(name), leading=other)


@pytest.mark.parametrize("name", NAMES)
def test_greedy_equals_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    others = [kind.row(3, length=4), kind.row(4, length=7)]
    expected = [
        greedy(kind, model, [row, other], contrast, 6) for row, other in zip(rows, others, strict=True)
    ]
    inputs, given = kind.batch(rows), kind.batch(others)
    for use_cache in sound(name):
        assert generate(name, inputs, leading(name, inputs, given), use_cache=use_cache) == expected
    for row, other, tokens in zip(rows, others, expected, strict=True):
        assert generate(name, row, leading(name, row, other)) == [tokens]
    assert generate(name, inputs) != expected, "the contrast must change something for this to be a test"


@pytest.mark.parametrize("name", NAMES)
def test_a_branch_without_the_picture_equals_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    inputs = kind.batch(rows)
    expected = [greedy(kind, model, [row, without_picture(kind, row)], contrast, 6) for row in rows]
    method = VisualDebias(alpha=ALPHA, beta=BETA)
    for use_cache in sound(name):
        assert generate(name, inputs, method.on(inputs, model=model), use_cache=use_cache) == expected


@pytest.mark.parametrize("name", NAMES)
def test_beams_equal_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    soft = partial(contrast, alpha=0.3)
    pairs: list[tuple[Inputs, Inputs]] = []
    expected: list[list[int]] = []
    for seed in range(5, 30):  # until beams have made a difference
        pairs.append((kind.row(seed, length=3 + seed % 3), kind.row(seed + 20, length=4)))
        expected.append(beam(kind, model, pairs[-1], soft, 4, 3))
        if expected[-1] != greedy(kind, model, pairs[-1], soft, 4) and len(pairs) > 1:
            break
    else:
        raise AssertionError("beams never differ from greedy search: this tests nothing")
    inputs, given = (kind.batch(rows) for rows in zip(*pairs, strict=True))
    for use_cache in sound(name):
        bound = leading(name, inputs, given, alpha=0.3)
        assert generate(name, inputs, bound, 4, num_beams=3, use_cache=use_cache) == expected


@pytest.mark.parametrize("name", NAMES)
def test_beams_with_branch_without_picture_equal_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)

    def by_entropy(logits: Sequence[Tensor]) -> Tensor:
        q = logits[1].softmax(-1)
        return contrast(logits, alpha=0.5 / float(-torch.special.xlogy(q, q).sum()))

    rows: list[Inputs] = []
    expected: list[list[int]] = []
    for seed in range(5, 30):  # until beams and the contrast have made a difference
        row = kind.row(seed, length=3 + seed % 3)
        pair = [row, without_picture(kind, row)]
        rows.append(row)
        expected.append(beam(kind, model, pair, by_entropy, 4, 3))
        others = (
            greedy(kind, model, pair, by_entropy, 4),
            beam(kind, model, pair, partial(contrast, alpha=0.0), 4, 3),
        )
        if expected[-1] not in others and len(rows) > 1:
            break
    else:
        raise AssertionError("beams and the contrast never make a difference: this tests nothing")
    inputs = kind.batch(rows)
    for use_cache in sound(name):
        bound = LanguageContrastive(alpha=0.5, beta=BETA).on(inputs, model=model)
        assert generate(name, inputs, bound, 4, num_beams=3, use_cache=use_cache) == expected


@pytest.mark.parametrize("name", ["Llava", "Qwen2_5_VL", "Blip2", "InstructBlipT5"])
def test_sampling_equals_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    pairs = [[row, without_picture(kind, row)] for row in rows]
    inputs = kind.batch(rows)
    bound = VisualDebias(alpha=ALPHA, beta=BETA).on(inputs, model=model)
    torch.manual_seed(5)
    expected = sampled(kind, model, pairs, contrast, 6, temperature=1.2)
    torch.manual_seed(5)
    use_cache = sound(name)[0]
    options = {"do_sample": True, "temperature": 1.2, "top_k": 0, "use_cache": use_cache}
    assert generate(name, inputs, bound, **options) == expected


@pytest.mark.parametrize("name", NAMES)
def test_weight_zero_is_plain_decoding_token_for_token(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    modes: list[dict[str, Any]] = [
        {"repetition_penalty": 1.3},
        {"do_sample": True, "temperature": 2.0, "top_p": 0.9},
        {"num_beams": 3, "eos_token_id": 9, "length_penalty": 0.5},
        {"do_sample": True, "temperature": 2.0, "num_return_sequences": 3},
        {"num_beams": 4, "num_return_sequences": 2, "use_cache": False},
    ]
    methods = itertools.cycle((VisualContrastive(0, 0), LanguageContrastive(0, 0), Plain()))
    for mode in modes:
        options = {"do_sample": False, "max_new_tokens": 6} | mode
        torch.manual_seed(3)
        plain = model.generate(**inputs, **options)
        for method in (next(methods), next(methods)):
            torch.manual_seed(3)
            out = model.generate(**inputs, **options, custom_generate=method.on(inputs, model=model))
            assert out.tolist() == plain.tolist(), (mode, method)


@pytest.mark.parametrize("name", NAMES)
def test_identical_branches_plain_decoding_where_weights_sum_one(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    for mode in ({}, {"num_beams": 3}, {"do_sample": True, "temperature": 2.0}):
        torch.manual_seed(3)
        plain = generate(name, inputs, **mode)
        for bound in (
            LeadingQueryContrastive(alpha=7.3, beta=0).on(inputs, model=model, leading=inputs),
            # The difference of equals says nothing; its rule for that has to find them equal to the last bit.
            ExampleContrastive(beta=0).on(inputs, model=model, without_examples=inputs),
        ):
            torch.manual_seed(3)
            assert generate(name, inputs, bound, **mode) == plain
    greedy_again = Ritual(beta=0.3).on(inputs, model=model, transformed=inputs)
    assert generate(name, inputs, greedy_again) == generate(name, inputs), "a scale leaves the argmax alone"


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_picture_does_not_leak_between_caches(name: str) -> None:
    """In published code both branches shared a cache from the second token on, and the contrast vanished."""
    kind, model = KINDS[name], tiny(name)
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    method = VisualDebias(("zeros",), alpha=ALPHA, beta=0)
    cached = generate(name, inputs, method.on(inputs, model=model), 10)
    if sound(name) == (True, False):
        assert cached == generate(name, inputs, method.on(inputs, model=model), 10, use_cache=False)
    assert cached != generate(name, inputs, steps=10)
    constant = {**inputs, "pixel_values": torch.full_like(inputs["pixel_values"], 1e-30)}
    given = LeadingQueryContrastive(alpha=ALPHA, beta=0).on(inputs, model=model, leading=constant)
    assert cached == generate(name, inputs, given, 10)


@pytest.mark.parametrize("name", NAMES)
def test_cost_is_that_of_the_forward_passes_taken(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    decoder = model.language_model if kind.hands_over else model.model.get_decoder()
    calls: list[int] = []
    hook = decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        generate(name, inputs)
        plain = len(calls)
        calls.clear()
        bound = (VisualContrastive() + VisualDebias(("none", "noise"))).on(inputs, model=model)
        generate(name, inputs, bound)
    finally:
        hook.remove()
    assert bound.cost is not None
    assert bound.cost.passes == {"own": plain, "noise": plain, "none": plain, "noise#2": plain}
    assert sum(bound.cost.passes.values()) == len(calls)
    assert bound.cost.relative_passes == 4.0
    assert bound.cost.relative_positions <= 4 * 1.05


def test_weights_are_the_mean_over_the_steps() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    row = kind.row(1)
    bound = LanguageContrastive(alpha=0.5, beta=0.1).on(row)
    (tokens,) = generate("Llava", row, bound)
    weights = []
    for step in range(len(tokens)):
        p = next_logits(kind, model, without_picture(kind, row), tokens[:step]).softmax(-1)
        weights.append(-0.5 / float(-(p * p.log()).sum()))
    assert bound.weights == {"text": pytest.approx(sum(weights) / len(weights), rel=1e-4)}


def test_positions_count_what_enters_the_decoder() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    inputs = kind.row(1, length=5)
    seen: list[int] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    try:
        for use_cache in (True, False):
            seen.clear()
            bound = LanguageContrastive().on(inputs)
            generate("Llava", inputs, bound, use_cache=use_cache)
            assert bound.cost is not None
            assert sum(seen) == sum(bound.cost.positions.values())
    finally:
        hook.remove()


def test_users_processors_act_on_the_combination() -> None:
    from transformers import LogitsProcessorList

    kind = KINDS["Llava"]
    inputs, other = kind.row(1), kind.row(3)
    seen: list[Tensor] = []

    def ban(ids: Tensor, scores: Tensor) -> Tensor:
        seen.append(scores.clone())
        return scores.index_fill(1, torch.tensor([chosen]), -torch.inf)

    ((chosen, *_),) = generate("Llava", inputs, leading("Llava", inputs, other))
    bound = leading("Llava", inputs, other)
    ((instead, *_),) = generate("Llava", inputs, bound, logits_processor=LogitsProcessorList([ban]))
    expected = contrast([tiny("Llava")(**row).logits[0, -1].double() for row in (inputs, other)])
    torch.testing.assert_close(seen[0][0].double(), expected, rtol=1e-4, atol=1e-4)
    assert instead == int(expected.index_fill(0, torch.tensor([chosen]), -torch.inf).argmax())


def test_outputs_are_those_of_transformers() -> None:
    kind = KINDS["Llava"]
    inputs = kind.row(1)
    out = tiny("Llava").generate(
        **inputs,
        max_new_tokens=4,
        do_sample=False,
        custom_generate=VisualContrastive().on(inputs),
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
    )
    assert len(out.scores) == len(out.logits) == 4
    assert out.scores[0].isneginf().any(), "scores are those of the combination"
    assert not out.logits[0].isneginf().any(), "logits those of the user's own input"


def test_it_ends_at_the_end_token_row_by_row() -> None:
    kind = KINDS["Llava"]
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    bound = LanguageContrastive(alpha=0.5).on(inputs)
    free = generate("Llava", inputs, bound, 8)
    end = free[0][2]
    out = generate("Llava", inputs, LanguageContrastive(alpha=0.5).on(inputs), 8, eos_token_id=end)
    for row, tokens in zip(out, free, strict=True):
        stop = tokens.index(end) + 1 if end in tokens else len(tokens)
        assert row[:stop] == tokens[:stop]
        assert not any(row[stop:])


def test_mvcd_ends_at_end_token_chooses_not_at_one_of_branches() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    for seed in range(
        1, 60, 2
    ):  # until it chooses what neither branch likes best, and passes over what one does
        rows = [kind.row(seed, length=8), kind.row(seed + 1, length=7)]
        others = [kind.row(seed), kind.row(seed + 1, length=3)]
        inputs, given = kind.batch(rows), kind.batch(others)

        def decode(
            end: int | None, either: bool = False, inputs: Inputs = inputs, given: Inputs = given
        ) -> list[list[int]]:
            method = ExampleContrastive(beta=BETA, end=end if either else None)
            bound = method.on(inputs, without_examples=given)
            return generate("Llava", inputs, bound, 8, eos_token_id=end)

        free = decode(None)
        liked = [
            {
                int(next_logits(kind, model, branch, free[row][:step]).argmax())
                for branch in (rows[row], others[row])
            }
            for row, step in itertools.product(range(2), range(8))
        ]
        chosen = [
            token
            for step, token in enumerate(free[0])
            if step and token not in {*free[0][:step], *free[1], *liked[step]}
        ]
        passed_over = sorted(set.union(*liked) - {*free[0], *free[1]})
        if chosen and passed_over:
            break
    else:
        raise AssertionError("the contrast never makes a difference: this tests nothing")
    ended, other = decode(chosen[0])
    stop = free[0].index(chosen[0]) + 1
    assert ended == free[0][:stop] + [PAD] * (8 - stop)
    assert other == free[1], "the other row goes on"
    assert decode(passed_over[0]) == free
    # As the paper's code ends: also where either prompt by itself would.
    for row, tokens in enumerate(decode(passed_over[0], either=True)):
        ends = [step for step in range(8) if passed_over[0] in liked[8 * row + step]]
        expected = free[row] if not ends else [*free[row][: ends[0]], passed_over[0]]
        assert tokens == expected + [PAD] * (8 - len(expected))


@pytest.mark.parametrize("form", ["embeddings", "encoded", "eager"])
def test_eager_and_encoded_pictures_give_the_same(form: str) -> None:
    """Check that generate takes pixels, encoded pictures or embeddings; the method holds the pixels."""
    kind, model = KINDS["Llava"], tiny("Llava")
    if form == "encoded" and "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
        pytest.skip("this version of transformers takes no encoded pictures")
    inputs = kind.row(1)
    passed: dict[str, Any] = dict(inputs)
    whole = (
        {"return_dict": True} if "mm_encoder_outputs" in inspect.signature(model.forward).parameters else {}
    )
    if form != "eager":
        pixels = passed.pop("pixel_values")
        with torch.no_grad():
            features = model.model.get_image_features(pixels, vision_feature_layer=-1, **whole)
        if form == "encoded":
            passed["mm_encoder_outputs"] = {"image": features}
        else:
            embedded = model.get_input_embeddings()(passed["input_ids"])
            embedded = embedded.masked_scatter(
                (passed["input_ids"] == IMAGE)[..., None],
                torch.cat(list(getattr(features, "pooler_output", features))),
            )
            passed["inputs_embeds"] = embedded
    bound = LeadingQueryContrastive(alpha=ALPHA, beta=BETA).on(inputs, leading=kind.row(3))
    out = model.generate(**passed, do_sample=False, max_new_tokens=6, custom_generate=bound)
    expected = greedy(kind, model, [inputs, kind.row(3)], contrast, 6)
    assert out[0, -6:].tolist() == expected


def test_rope_deltas_of_a_branch_stay_with_it() -> None:
    """Qwen2-VL keeps a picture's shift of positions on a module; a later call that goes on from a cache reads it."""
    kind, model = KINDS["Qwen2_5_VL"], tiny("Qwen2_5_VL")
    inputs = kind.row(1)
    generate("Qwen2_5_VL", inputs)
    plain = model.model.rope_deltas.clone()
    generate("Qwen2_5_VL", inputs, LanguageContrastive().on(inputs))
    assert torch.equal(model.model.rope_deltas, plain)
    assert plain.any(), "a picture shifts positions, else this tests nothing"


def test_branches_reorder_with_their_beams() -> None:
    """Beams cross over: rows of a branch's cache must follow. Compared with recomputing everything."""
    kind = KINDS["Qwen2VL"]
    for seed, width in itertools.product(range(4), (2, 5)):
        inputs, other = kind.row(seed, length=4), kind.row(seed + 10, length=6)
        bound = leading("Qwen2VL", inputs, other)
        cached = generate("Qwen2VL", inputs, bound, 8, num_beams=width, num_return_sequences=width)
        again = generate(
            "Qwen2VL", inputs, bound, 8, num_beams=width, num_return_sequences=width, use_cache=False
        )
        assert cached == again


def test_a_description_is_its_own_branch() -> None:
    kind, model = KINDS["Llava"], tiny("Llava")
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    inputs = kind.batch(rows)
    asked = kind.batch([kind.row(1, length=2), kind.row(2, length=6)])
    description = describe(model, asked, max_new_tokens=4)
    bound = DescriptionContrastive().on(inputs, description=description)
    cached = generate("Llava", inputs, bound)
    assert cached == generate("Llava", inputs, bound, use_cache=False)
    assert END not in itertools.chain(*description.words)


def test_a_streamer_gets_the_prompt_and_every_token() -> None:
    class Streamer:
        def __init__(self) -> None:
            self.seen: list[list[int]] = []
            self.ended = False

        def put(self, tokens: Tensor) -> None:
            self.seen.append(tokens.flatten().tolist())

        def end(self) -> None:
            self.ended = True

    inputs = KINDS["Llava"].row(1)
    streamer = Streamer()
    bound = VisualContrastive().on(inputs, streamer=streamer)
    (tokens,) = generate("Llava", inputs, bound)
    assert streamer.seen == [inputs["input_ids"][0].tolist(), *([token] for token in tokens)]
    assert streamer.ended


def test_static_caches_are_one_a_branch() -> None:
    kind = KINDS["Llava"]
    inputs = kind.batch([kind.row(1, length=5), kind.row(2, length=3)])
    method = LanguageContrastive(alpha=0.5)
    dynamic = generate("Llava", inputs, method.on(inputs))
    assert dynamic == generate("Llava", inputs, method.on(inputs), cache_implementation="static")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_combined_in_float32(dtype: torch.dtype) -> None:
    kind = KINDS["Llava"]
    model = copy.deepcopy(tiny("Llava")).to(dtype)
    inputs, other = (
        {key: value.to(dtype) if value.is_floating_point() else value for key, value in row.items()}
        for row in (kind.row(1), kind.row(3))
    )
    out = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=1,
        custom_generate=LeadingQueryContrastive(alpha=ALPHA, beta=BETA).on(inputs, leading=other),
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert out.scores[0].dtype == torch.float32
    expected = contrast([model(**row).logits[0, -1].double() for row in (inputs, other)])
    torch.testing.assert_close(out.scores[0][0].double(), expected, rtol=1e-5, atol=1e-5)


def test_two_pictures_a_row_and_none_for_padding() -> None:
    """Rows with fewer pictures are padded with pictures of zeros, which must not become pictures."""
    kind = KINDS["SmolVLM"]
    one, two = kind.row(1, length=5), kind.row(2, length=3)
    second = kind.row(4)["pixel_values"]
    two = kind.prompt([7, *kind.slot, 8, 9], {"pixel_values": torch.cat([two["pixel_values"], second], 1)})
    padded = {**one, "pixel_values": torch.nn.functional.pad(one["pixel_values"], (0, 0) * 3 + (0, 1))}
    inputs = kind.batch([padded, two])
    for method in (VisualContrastive(), VisualDebias(("zeros",))):
        together = generate("SmolVLM", inputs, method.on(inputs))
        alone = [generate("SmolVLM", row, method.on(row))[0] for row in (one, two)]
        assert together == alone
