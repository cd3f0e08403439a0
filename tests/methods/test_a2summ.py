"""A2Summ: who attends to whom, the focal and the inner term, rows without a key or a negative, scores in use."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from method_stubs import build, loaded, run
from torch import Tensor

from counterpoint.data.timelines import resampled
from counterpoint.methods.a2summ import hard_negatives, inner_contrast
from counterpoint.testing._stubs import INPUTS
from counterpoint.types import Batch, FindsKeys


def a2summ(**options: Any) -> Any:
    return build("a2summ", width=16, exclusion=0, ratio=2.0, **options).eval()


def spanning(batch: Batch) -> Batch:
    """The batch, every sentence of which is said all the time."""
    said = batch["transcript"].clone()
    there = said[..., 1] > 0
    said[..., 0] = 0
    said[..., 1] = 10**6 * there
    return replace(batch, views={**batch.views, "transcript": said})


def test_frames_attend_to_sentences_of_their_time_alone() -> None:
    method = a2summ(depth=1)
    batch = loaded(method, 6)
    said = batch["transcript"].clone()
    said[2, 0, 2:] = said[3, 0, 2:].roll(
        1
    )  # row 2 has three sentences; the first holds the first of its four frames
    one, other = (
        method.encode(replace(batch, views={**batch.views, "transcript": it}))["states.video"][2]
        for it in (batch["transcript"], said)
    )
    moved = (one - other).abs().amax(1) > 1e-6
    assert moved.tolist() == [True, False, False, False]


def test_sentences_that_span_the_clip_are_full_attention() -> None:
    times, full = a2summ(), a2summ(mask="full")
    batch = spanning(loaded(times, 6))
    for name, value in times.encode(batch).items():
        assert torch.equal(value, full.encode(batch)[name])
    batch = loaded(times, 6)
    assert not torch.allclose(times.encode(batch)["states.video"], full.encode(batch)["states.video"])


def test_class_tokens_read_their_own_column_and_padding_is_not_seen() -> None:
    method = a2summ(depth=1)
    batch = loaded(method, 6)
    z = method.encode(batch)
    said = batch["transcript"].clone()
    said[..., 2:] = said[..., 2:].flip(
        0
    )  # other words at the same times: of these frames have their segment vectors
    other = method.encode(replace(batch, views={**batch.views, "transcript": said}))
    torch.testing.assert_close(other["video"], z["video"])
    for column in ("video", "transcript"):  # alone, without padding
        together = method.features(column, batch[column])
        counts = method.inside(column, batch[column]).sum(1).tolist()
        for row, count in enumerate(counts):
            torch.testing.assert_close(
                method.features(column, batch[column][row : row + 1, :count])[0],
                together[row],
                atol=1e-5,
                rtol=0,
            )


def test_layers_share_weights_unless_asked_not_to() -> None:
    shared, own = a2summ(depth=3), a2summ(depth=3, share_layers=False)
    assert (len(shared.blocks), shared.rounds) == (1, 3)
    assert (len(own.blocks), own.rounds) == (3, 1)
    own.blocks.load_state_dict(
        {f"{k}.{name}": value for k in range(3) for name, value in shared.blocks[0].state_dict().items()}
    )
    rest = {name: value for name, value in shared.state_dict().items() if not name.startswith("blocks")}
    own.load_state_dict(rest, strict=False)
    batch = loaded(own, 4)
    torch.testing.assert_close(own.encode(batch)["scores.video"], shared.encode(batch)["scores.video"])


def test_focal_term_is_the_mean_over_two_columns() -> None:
    method = a2summ(contrast=0.0, inner=0.0)
    batch = loaded(method, 6)
    with torch.no_grad():
        z, losses = method.encode(batch), run(method, batch)
    values = []
    inside = method.inside("video", batch["video"])
    keys = resampled(batch.labels["key_frames"], inside.sum(1), 4)
    for row in range(6):
        for place in range(int(inside[row].sum())):
            p, key = float(z["scores.video"][row, place].sigmoid()), float(keys[row, place])
            for probability, true in ((p, key), (1 - p, 1 - key)):
                right = probability if true else 1 - probability
                values.append(-(0.25 if true else 0.75) * (1 - right) ** 2 * math.log(right))
    assert losses["focal video"].item() == pytest.approx(sum(values) / len(values), rel=1e-4)
    assert set(losses) == {"focal video", "focal transcript"}


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def test_inner_contrast_is_that_of_loops_and_skips_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(3, n, 5, dtype=torch.float64, generator=generator) for n in (6, 4)]
    keys = [torch.zeros(3, n, dtype=torch.bool) for n in (6, 4)]
    others = [torch.zeros(3, n, dtype=torch.bool) for n in (6, 4)]
    keys[0][:, :2] = keys[1][:2, :1] = True  # the last row has no key sentence
    others[0][0, 4:] = others[0][2, 4:] = others[1][:, 3] = True  # the second row has no negative frame
    terms, has = inner_contrast(states, keys, others, torch.tensor(3.0, dtype=torch.float64))
    assert has.tolist() == [True, False, False]
    assert terms[1:].tolist() == [0, 0]
    k = [unit(of[0][mask[0]].mean(0)) for of, mask in zip(states, keys, strict=True)]
    expected = 0.0
    for centre, of, mask in zip(k, states, others, strict=True):
        logits = [3 * float(k[0] @ k[1]), *(3 * float(centre @ unit(one)) for one in of[0][mask[0]])]
        expected += (math.log(sum(map(math.exp, logits))) - logits[0]) / 2
    assert terms[0].item() == pytest.approx(expected, rel=1e-12)


def test_no_row_with_a_key_gives_terms_of_zero_and_gradients() -> None:
    method = a2summ(contrast=0.0)
    batch = loaded(method, 4)
    none = {**batch.labels, "key_frames": 0 * batch.labels["key_frames"]}
    losses = run(method, replace(batch, labels=none))
    assert losses["inner"].item() == 0
    torch.autograd.backward([torch.stack(list(losses.values())).sum()])
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_negatives_lie_beside_no_key_and_have_the_highest_scores() -> None:
    scores = torch.tensor([[9.0, 8, 7, 1, 2, 3, 6, 5]]).repeat(2, 1)
    keys = torch.zeros(2, 8, dtype=torch.bool)
    keys[0, 0] = True
    keys[1, [0, 3, 6]] = True
    known = torch.ones(2, 8, dtype=torch.bool)
    known[0, 6] = False
    chosen = hard_negatives(scores, keys, known, exclusion=1, ratio=3.0)
    assert chosen[0].nonzero()[:, 0].tolist() == [2, 7]
    assert not chosen[1].any(), "all of it lies within the exclusion"


def test_scores_are_of_the_frames_of_the_raw_clip() -> None:
    method = a2summ()
    assert isinstance(method, FindsKeys)
    inputs = {column: INPUTS[column] for column in ("video", "transcript")}
    scores = method.key_scores(inputs)
    assert (~scores["video"].isnan()).sum(1).tolist() == inputs["video"].lengths.tolist()
    assert (~scores["transcript"].isnan()).sum(1).tolist() == [
        len(it.sentences) for it in inputs["transcript"]
    ]
    whole = torch.cat([it[~it.isnan()] for it in scores.values()])
    assert ((whole > 0) & (whole < 1)).all()


def test_label_is_needed() -> None:
    with pytest.raises(ValueError, match="name a label with timelines"):
        build("a2summ", target=None)
