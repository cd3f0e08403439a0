"""Self-descriptions, and the two methods that use them, against slow loops."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from slow import greedy, next_logits, sound
from torch import Tensor

from counterpoint.decoding import (
    Description,
    DescriptionContrastive,
    DescriptionGrounded,
    Plain,
    describe,
)
from fixtures.tiny_vlms import IMAGE, KINDS, VOCABULARY, WORDS, Inputs, Kind, tiny

KIND = KINDS["Llava"]


def described(kind: Kind, row: Inputs, words: Sequence[int]) -> Inputs:
    ids: list[int] = []
    for token in row["input_ids"][0].tolist():
        if token not in kind.slot:
            ids.append(token)
        elif token == kind.slot[0] and not set(words) <= set(ids):
            ids += words
    tensor = torch.tensor([ids])
    return {"input_ids": tensor, "attention_mask": torch.ones_like(tensor)}


def slow_description(row: Inputs, limit: int, end: int | None) -> tuple[list[int], list[Tensor]]:
    words: list[int] = []
    places: list[Tensor] = []
    for _ in range(limit):
        logits = next_logits(KIND, tiny("Llava"), row, words)
        places.append(logits.log_softmax(-1))
        token = int(logits.argmax())
        if token == end:
            break
        words.append(token)
    return words, places


@pytest.fixture
def end() -> Iterator[int]:
    """A token that ends one of the two descriptions early, for the time of a test."""
    model = tiny("Llava")
    words, _ = slow_description(KIND.row(1), 8, None)
    token = next(word for place, word in enumerate(words) if place > 1 and word not in words[:place])
    model.generation_config.eos_token_id = token
    yield token
    model.generation_config.eos_token_id = None


def test_description_greedy_and_keeps_distribution_of_place(end: int) -> None:
    rows = [KIND.row(1), KIND.row(2, length=3)]
    description = describe(tiny("Llava"), KIND.batch(rows), max_new_tokens=8)
    found = [slow_description(row, 8, end) for row in rows]
    assert list(description.words) == [words for words, _ in found]
    assert description.counts.tolist() == [len(places) for _, places in found]
    assert description.counts[0] == len(description.words[0]) + 1, "the end token has a place too"
    for row, (_, places) in enumerate(found):
        stacked = torch.stack(places)
        for reduction, expected in (
            ("max", stacked.amax(0)),
            ("sum", stacked.sum(0)),
            ("mean", stacked.mean(0)),
        ):
            table = description.support(reduction)[row].double()  # type: ignore[arg-type] # from a list
            torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-4)
    assert description.passes == max(len(places) for _, places in found)


def test_description_is_of_raw_logits_whatever_decoding_made_it() -> None:
    model, row = tiny("Llava"), KIND.row(1)
    plain = describe(model, row, max_new_tokens=3)
    model.generation_config.repetition_penalty = 5.0
    try:
        penalised = describe(model, row, max_new_tokens=3)
    finally:
        model.generation_config.repetition_penalty = None
    torch.testing.assert_close(
        penalised.highest >= slow_description(row, 1, None)[1][0].float() - 1e-4,
        torch.ones(1, plain.highest.shape[1], dtype=torch.bool),
    )


@pytest.mark.parametrize("name", ["Llava", "Qwen2VL", "SmolVLM", "Blip2"])
def test_code_equals_the_slow_loop(name: str) -> None:
    kind, model = KINDS[name], tiny(name)
    rows = [kind.row(1, length=5), kind.row(2, length=3)]
    description = describe(
        model, kind.batch([kind.row(1, length=2), kind.row(2, length=4)]), max_new_tokens=4
    )

    def combine(logits: Sequence[Tensor]) -> Tensor:
        own, other = logits
        p, q = own.softmax(-1), other.softmax(-1)
        divergence = (0.5 * (p + q) * ((p - q).abs() ** 0.2 + 1).log2()).sum()
        alpha = 1 - divergence
        return ((1 + alpha) * own - alpha * other).masked_fill(p < divergence * p.max(), -torch.inf)

    expected = [
        greedy(kind, model, [row, described(kind, row, words)], combine, 6)
        for row, words in zip(rows, description.words, strict=True)
    ]
    inputs = kind.batch(rows)
    bound = DescriptionContrastive().on(inputs, model=model, description=description)
    options = {"do_sample": False, "max_new_tokens": 6, "use_cache": sound(name)[0]}
    out = model.generate(**inputs, **options, custom_generate=bound)
    assert out[:, -6:].tolist() == expected


def slow_vdgd(model: Any, rows: Sequence[Inputs], description: Description) -> list[list[int]]:
    found = []
    for row, table in zip(rows, description.highest.double(), strict=True):

        def combine(logits: Sequence[Tensor], table: Tensor = table) -> Tensor:
            p, order = (2 * logits[0]).softmax(-1).sort(descending=True)
            kept = order[(p.cumsum(-1) - p) < 0.5]
            return torch.full_like(table, -torch.inf).index_copy(0, kept, table[kept])

        found.append(greedy(KIND, model, [row], combine, 6))
    return found


def test_vdgd_equals_the_slow_loop_with_returned_sequences() -> None:
    model = tiny("Llava")
    rows = [KIND.row(1, length=5), KIND.row(2, length=3)]
    description = describe(model, KIND.batch(rows), max_new_tokens=4)
    expected = slow_vdgd(model, rows, description)
    inputs = KIND.batch(rows)
    bound = DescriptionGrounded().on(inputs, description=description)
    out = model.generate(**inputs, do_sample=False, max_new_tokens=6, custom_generate=bound)
    assert out[:, -6:].tolist() == expected
    assert bound.cost is not None
    assert bound.cost.relative_passes == 1.0, "its branch is a table"
    many = model.generate(
        **inputs,
        do_sample=True,
        top_k=1,
        num_return_sequences=3,
        max_new_tokens=6,
        custom_generate=DescriptionGrounded().on(inputs, description=description),
    )
    assert many[::3, -6:].tolist() == expected, "rows of the table follow those of generate"


def test_vdgd_chooses_no_token_pads_vocabulary_whatever() -> None:
    model = copy.deepcopy(tiny("Llava"))
    model.resize_token_embeddings(VOCABULARY + 8, mean_resizing=False)
    with torch.no_grad():
        model.get_output_embeddings().weight[VOCABULARY:] = 0.0
    rows = [KIND.row(1, length=5), KIND.row(2, length=3)]
    inputs = KIND.batch(rows)
    description = describe(model, inputs, max_new_tokens=4)
    assert description.highest.shape == (2, VOCABULARY + 8)
    certain = description.highest.clone()
    certain[:, VOCABULARY:] = 0.0
    for given in (description, replace(description, highest=certain)):
        bound = DescriptionGrounded().on(inputs, description=given)
        out = model.generate(**inputs, do_sample=False, max_new_tokens=6, custom_generate=bound)
        tokens = out[:, -6:].tolist()
        assert tokens == slow_vdgd(model, rows, given)
        assert all(token < VOCABULARY for row in tokens for token in row)


def test_vdgd_with_an_empty_description_is_plain_decoding() -> None:
    model, rows = tiny("Llava"), [KIND.row(1, length=5), KIND.row(2, length=3)]
    inputs = KIND.batch(rows)
    full = describe(model, inputs, max_new_tokens=4)
    half = Description(([], full.words[1]), full.counts, full.highest, full.total, full.passes)

    def decode(method: object) -> list[list[int]]:
        out = model.generate(**inputs, do_sample=False, max_new_tokens=6, custom_generate=method)
        tokens: list[list[int]] = out[:, -6:].tolist()
        return tokens

    plain = decode(Plain().on(inputs))
    for divided in (False, True):
        method = DescriptionGrounded(divided=divided, top_p=0.9, temperature=2.0)
        first, second = decode(method.on(inputs, description=half))
        assert first == plain[0]
        assert second == decode(method.on(inputs, description=full))[1]
        assert second != plain[1]


def test_a_missing_or_wrong_description_is_an_error() -> None:
    inputs = KIND.row(1)
    model = tiny("Llava")
    with pytest.raises(ValueError, match=r"needs description=….*\.on\(inputs, description=…\)"):
        DescriptionContrastive().on(inputs)
    with pytest.raises(ValueError, match="description=str: pass what"):
        model.generate(
            **inputs, custom_generate=DescriptionGrounded().on(inputs, description="a cat"), max_new_tokens=1
        )
    pair = KIND.batch([KIND.row(1), KIND.row(2)])
    one, two = (describe(model, of, max_new_tokens=2) for of in (inputs, pair))
    # Returned sequences are rows of one prompt, and no prompts of their own.
    for given, other, copies, message in (
        (inputs, two, 1, "description has 2 rows, and generate has 1"),
        (inputs, two, 2, "description has 2 rows, and generate has 1"),
        (pair, one, 1, "description has 1 rows, and generate has 2"),
    ):
        options = {"do_sample": True, "num_return_sequences": copies, "max_new_tokens": 1}
        for method in (DescriptionContrastive(), DescriptionGrounded()):
            with pytest.raises(ValueError, match=message):
                model.generate(**given, **options, custom_generate=method.on(given, description=other))


def test_words_are_those_of_the_answer_only() -> None:
    description = describe(tiny("Llava"), KIND.row(1), max_new_tokens=5)
    assert len(description.words[0]) == 5
    assert all(word in WORDS for word in description.words[0])
    assert IMAGE not in description.words[0]
