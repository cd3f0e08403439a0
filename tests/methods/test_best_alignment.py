"""Speech and text in one encoder: CTC by brute force, gaps, masked tokens, what is written down."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from method_stubs import LATE, WordTokenizer, batch, build
from torch import Tensor

from counterpoint.methods import BestAlignment
from counterpoint.methods.best_alignment import collapsed
from counterpoint.raw import Waves
from counterpoint.types import Batch


def a_batch(method: Any, size: int = 4) -> Batch:
    given = batch(method, size=size, dtype=torch.float64)
    tokens = given["text"].clone()
    tokens[0] = torch.tensor([7, 7, 9, WordTokenizer.end, 0])
    tokens[1] = torch.tensor([3, WordTokenizer.end, 0, 0, 0])
    return replace(given, views={**given.views, "text": tokens})


def losses(method: Any, given: Batch) -> dict[str, Tensor]:
    found: dict[str, Tensor] = method.losses(method.encode(given), given, LATE)
    return found


def test_ctc_is_minus_log_of_share_of_paths_that_say_the_text() -> None:
    method = build("best-alignment", frames=1, weight=0.0).double()
    sounds = torch.randn(1, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    said = [7, 7, WordTokenizer.end]  # a token twice, between which CTC needs a blank
    given = Batch(torch.arange(1), {"audio": sounds, "text": torch.tensor([said])})
    with torch.no_grad():
        p = method.head(method.states("audio", sounds)).softmax(-1)[0]
        found = losses(method, given)
    assert len(p) == 5
    alphabet = [*sorted(set(said)), method.blank]
    total = sum(
        math.prod(float(p[time, token]) for time, token in enumerate(path))
        for path in product(alphabet, repeat=len(p))
        if collapsed(torch.tensor(path), method.blank).tolist() == said
    )
    assert found["ctc"].item() == pytest.approx(-math.log(total) / len(said), rel=1e-5)
    assert set(found) == {"ctc", "text"}


def test_what_stands_in_a_gap_does_not_matter() -> None:
    method = build("best-alignment", masked=0.0).double()
    given = a_batch(method, 5)
    gaps = {
        "audio": torch.tensor([True, True, False, True, True]),
        "text": torch.tensor([True, True, True, False, True]),
    }
    found, poisoned = [], []
    for fill in (0.0, 1.0):
        sounds, tokens = given["audio"].clone(), given["text"].clone()
        sounds[2], tokens[3] = fill * 1e3, int(fill)
        method.zero_grad()
        terms = losses(method, replace(given, views={"audio": sounds, "text": tokens}, present=gaps))
        torch.stack(list(terms.values())).sum().backward()
        found.append(terms)
        poisoned.append([p.grad.clone() for p in method.parameters()])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-12, atol=0)
    for one, other in zip(*poisoned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    # The terms of pairs are those of the pairs alone; texts teach without speech too.
    pairs = torch.tensor([0, 1, 4])
    alone = losses(method, Batch(pairs, {k: v[pairs] for k, v in given.views.items()}))
    for name in ("ctc", "alignment"):
        torch.testing.assert_close(found[0][name], alone[name])
    assert not torch.isclose(found[0]["text"], alone["text"])
    nothing = losses(method, replace(given, present={"audio": gaps["audio"] & False}))
    assert nothing["ctc"].item() == nothing["alignment"].item() == 0
    assert nothing["text"] > 0


def test_speech_that_is_too_short_for_its_text_is_left_out() -> None:
    method = build("best-alignment", frames=1, masked=0.0).double()
    given = a_batch(method)
    short = given["audio"].clone()
    short[0, 16:] = (
        math.nan
    )  # four frames for three tokens and a blank between two that are the same: just enough
    short[2, 16:] = math.nan  # four frames for five tokens
    terms = losses(method, replace(given, views={**given.views, "audio": short}))
    kept = torch.tensor([0, 1, 3])
    alone = losses(method, Batch(kept, {"audio": short[kept], "text": given["text"][kept]}))
    for name in ("ctc", "alignment"):
        assert terms[name].isfinite()
        torch.testing.assert_close(terms[name], alone[name])


def test_tokens_are_masked_before_a_step_and_never_the_end() -> None:
    method = build("best-alignment", masked=0.5)
    given = a_batch(method)
    torch.manual_seed(0)
    prepared = method.prepare(given, LATE)
    seen, tokens = prepared["text.masked"], prepared["text"]
    assert torch.equal(tokens, given["text"])
    changed = seen != tokens
    assert changed.any()
    assert (seen[changed] == 0).all()
    assert (tokens[changed] != WordTokenizer.end).all()
    method = method.double()
    assert not torch.equal(method.encode(prepared)["text"], method.encode(given)["text"])
    assert build("best-alignment", masked=0.0).prepare(given, LATE) is given


class Readable(WordTokenizer):
    def decode(self, tokens: Tensor) -> str:
        return " ".join(map(str, tokens.tolist()))


def test_what_is_written_down_is_likeliest_token_of_each_frame() -> None:
    method = build("best-alignment")
    sounds = Waves.of([torch.randn(40).numpy(), torch.randn(12).numpy()], 8000)
    with pytest.raises(LookupError, match="WordTokenizer cannot turn tokens into text"):
        method.transcribe(sounds)
    method.text_tower.tokenizer = Readable()
    whole = method.transcribe(sounds)
    assert [method.transcribe(sounds[k : k + 1])[0] for k in range(2)] == whole
    assert method.training
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.zero_()[5] = 1.0
    assert method.transcribe(sounds) == ["5", "5"]
    with torch.no_grad():
        method.head.bias[method.blank] = 2.0
    assert method.transcribe(sounds) == ["", ""]
    assert isinstance(method, BestAlignment)
