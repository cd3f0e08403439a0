"""CoAVT: passes of their own, rows with gaps, equal texts, matching, masks of the queries, and similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, StubImage, StubSound, StubText, build, loaded, ready
from torch import Tensor, nn

from counterpoint import methods
from counterpoint.losses import InfoNCELoss, MILLoss
from counterpoint.methods.coavt import drawn_negatives
from counterpoint.networks.fusion.query_transformer import QueryTransformer
from counterpoint.networks.init import initialise
from counterpoint.pairwise import Temperature
from counterpoint.testing._stubs import INPUTS
from counterpoint.types import Batch

JOINT = "image+audio"


def coavt(**options: Any) -> Any:
    method = build("coavt", **{"width": 16, "queries": 3, **options}).eval()
    nn.init.normal_(method.bridge.head.weight, generator=torch.Generator().manual_seed(1))
    return method


def changed(batch: Batch, column: str) -> Batch:
    return replace(batch, views={**batch.views, column: batch[column].flip(0)})


def differ(x: Tensor, y: Tensor) -> bool:
    return not torch.isclose(x, y).flatten(1).all(1).any()


@pytest.mark.parametrize(("column", "other"), [("image", "audio"), ("audio", "image")])
def test_each_column_has_a_pass_of_its_own(column: str, other: str) -> None:
    method = coavt()
    batch = loaded(method, 4)
    z, after = method.encode(batch), method.encode(changed(batch, other))
    assert torch.equal(z[column], after[column])
    assert differ(z[other], after[other])
    assert differ(z[f"queries.{JOINT}"], after[f"queries.{JOINT}"])


def test_contrast_sees_no_text() -> None:
    method = coavt()
    batch = loaded(method, 4)
    z, after = method.encode(batch), method.encode(changed(batch, "text"))
    for name in ("image", "audio", JOINT, f"queries.{JOINT}"):
        assert torch.equal(z[name], after[name])
    assert differ(z["likelihood.text"][:, :1], after["likelihood.text"][:, :1])


def test_terms_are_of_rows_that_have_their_columns() -> None:
    method = coavt(matching=0.0)
    batch = replace(
        loaded(method, 6),
        present={
            "audio": torch.tensor([True, True, True, True, False, False]),
            "text": torch.tensor([True, True, True, False, True, True]),
        },
    )
    z = method.encode(batch)
    losses = method.losses(z, batch, LATE)
    t = F.normalize(method.projections["text"](z["text"]), dim=-1)
    for side, rows in (("image", [0, 1, 2, 4, 5]), ("audio", [0, 1, 2])):
        x = F.normalize(method.projections[side](z[side]), dim=-1)
        torch.testing.assert_close(losses[f"{side}-text"], InfoNCELoss(0.07)(x[rows], t[rows]))
    rows = [0, 1, 2, 4, 5]
    q = F.normalize(method.joint_projection(z[f"queries.{JOINT}"]), dim=-1)[rows]
    s = torch.einsum("ikd,jd->ijk", q, t[rows]).amax(-1) / 0.07
    own = torch.arange(5)
    expected = (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2
    torch.testing.assert_close(losses[f"{JOINT}-text"], expected)
    summed, count = z["likelihood.text"][rows].T
    torch.testing.assert_close(losses["caption"], -summed.sum() / count.sum())


def test_learned_token_stands_for_a_missing_column() -> None:
    method = coavt()
    batch = replace(loaded(method, 3), present={"audio": torch.tensor([True, False, False])})
    z = method.encode(batch)
    assert z[JOINT].ne(0).any(-1).sum(1).tolist() == [12, 3, 3]  # two patches, and ten states or one token
    with torch.no_grad():
        method.missing["audio"].copy_(torch.linspace(-1, 1, 16))
    after = method.encode(batch)
    torch.testing.assert_close(after[JOINT][0], z[JOINT][0])
    assert differ(after[JOINT][1:, :3], z[JOINT][1:, :3])
    torch.testing.assert_close(after["image"], z["image"])


def test_equal_texts_are_no_negatives() -> None:
    x, y = (
        F.normalize(torch.randn(4, 2 - k, 6, dtype=torch.float64), dim=-1).requires_grad_() for k in range(2)
    )
    groups = torch.tensor([5, 7, 5, 8])
    s = torch.einsum("ikd,jd->ijk", x, y[:, 0]).amax(-1) / 0.1
    s = s.masked_fill((groups[:, None] == groups) & ~torch.eye(4, dtype=torch.bool), -torch.inf)
    own = torch.arange(4)
    expected = (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2
    loss = MILLoss("max", temperature=Temperature(0.1)).double()
    value = loss(x, y, groups=groups)
    torch.testing.assert_close(value, expected)
    measured = torch.autograd.grad(value, [x, y, *loss.parameters()])
    assert all(gradient.isfinite().all() for gradient in measured)
    for gradient, other in zip(measured, torch.autograd.grad(expected, [x, y]), strict=False):
        torch.testing.assert_close(gradient, other)
    torch.testing.assert_close(loss(x, y, groups=own), loss(x, y))


def test_negatives_have_another_text() -> None:
    torch.manual_seed(0)
    texts = torch.randint(4, (64,))
    same = texts[:, None] == texts
    drawn = drawn_negatives(torch.randn(64, 64), same)
    assert not (texts[drawn] == texts).any()
    # The likeliest are drawn most often.
    scores = torch.zeros(64, 64)
    scores[:, 3] = 50.0
    assert (drawn_negatives(scores, same)[~same[:, 3]] == 3).all()


def test_of_one_text_there_is_no_matching() -> None:
    method = coavt()
    batch = loaded(method, 4)
    one = replace(batch, views={**batch.views, "text": batch["text"][:1].expand(4, -1)})
    losses = method.losses(method.encode(one), one, LATE)
    assert losses["matching"].item() == 0
    assert losses["image-text"].item() == pytest.approx(0, abs=1e-6)
    assert method.losses(method.encode(batch), batch, LATE)["matching"].item() > 0


def transformer() -> QueryTransformer:
    bridge = QueryTransformer(width=8, queries=2, layers=3, vocabulary=9, length=5)
    initialise(bridge, 0)
    return bridge.eval()


def passes(bridge: QueryTransformer, tokens: Sequence[int], causal: bool) -> tuple[Tensor, Tensor]:
    states = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, False]])
    given = torch.tensor([tokens])
    queries, words = bridge(states, mask, given, given > 0, causal)
    return queries[0], words[0]


def test_causal_pass_reads_no_later_word() -> None:
    bridge = transformer()
    (queries, words), (others, after) = (passes(bridge, [1, 2, last], True) for last in (3, 4))
    torch.testing.assert_close(queries, others)
    torch.testing.assert_close(words[:2], after[:2])
    assert not torch.allclose(words[2], after[2])
    alone, _ = bridge(
        torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([[True, True, False]])
    )
    torch.testing.assert_close(queries, alone[0])


def test_full_pass_reads_all_words_and_no_padding() -> None:
    bridge = transformer()
    (queries, words), (others, after) = (passes(bridge, [1, 2, last], False) for last in (3, 4))
    assert not torch.allclose(queries, others)
    assert not torch.allclose(words[0], after[0])
    padded, _ = passes(bridge, [1, 2, 3, 0], False)
    torch.testing.assert_close(padded, queries)


def test_similarity_is_that_of_the_best_query() -> None:
    method = coavt()
    inputs = {column: INPUTS[column] for column in ("image", "audio")}
    both, text, alone = (
        method.embed(JOINT, inputs),
        method.embed("text", INPUTS["text"]),
        method.embed("image", inputs["image"]),
    )
    prepared = {column: method.inputs[column](raw) for column, raw in inputs.items()}
    with torch.no_grad():
        q = F.normalize(method.joint_projection(method.joint_features(prepared)), dim=-1)
        t = F.normalize(
            method.projections["text"](method.text_tower(method.inputs["text"](INPUTS["text"]))), dim=-1
        )
        z = F.normalize(method.projections["image"](method.features("image", prepared["image"])), dim=-1)
    expected = torch.einsum("ikd,jd->ijk", q, t).amax(-1)
    torch.testing.assert_close(method.similarity(both, text), expected)
    torch.testing.assert_close(method.similarity(text, both), expected.T)
    torch.testing.assert_close(method.similarity(alone, text), z @ t.T)
    assert method.width == both.shape[1] == 3 * 8


def test_without_separate_terms_queries_read_a_column_alone() -> None:
    method = coavt(separate=0.0)
    batch = loaded(method, 2)
    gone = replace(batch, present={"audio": torch.zeros(2, dtype=torch.bool)})
    torch.testing.assert_close(
        method.features("image", batch["image"]), method.encode(gone)[f"queries.{JOINT}"]
    )
    assert set(method.encode(batch)) == {JOINT, f"queries.{JOINT}", "text", "likelihood.text"}


def test_two_columns_and_one_of_texts_are_required() -> None:
    towers = ready({"image": StubImage(), "one": StubSound(), "other": StubSound()}, 0)
    with pytest.raises(ValueError, match="one of texts"):
        methods.create("coavt", towers, RECIPE)
    towers = ready({"image": StubImage(), "text": StubText(), "audio": StubSound()}, 0)
    with pytest.raises(ValueError, match="multiple of 4"):
        methods.create("coavt", towers, RECIPE, width=6)
