"""VLM2Vec: one direction, equal targets, instructions in training and after it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, RECIPE, batch, build, run

from counterpoint.losses import InfoNCELoss
from counterpoint.methods import create
from counterpoint.methods.vlm2vec import _DistinctTargets, content_ids
from counterpoint.networks import build_towers
from counterpoint.recipes.schema import Towers
from counterpoint.types import Batch

SIZES: dict[str, Any] = {"image_size": 16, "image_width": 16, "talk_width": 32, "talk_layers": 1}


def embedder(**options: Any) -> Any:
    built = build_towers(
        Towers(**SIZES, vocabulary=300),
        {},
        0,
        columns={"image": "image", "text": "text"},
        names={"image": "lm", "text": "lm"},
    )
    return create("vlm2vec", built, RECIPE, **options)


@pytest.mark.parametrize("directions", ["one", "both"])
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_equal_targets_are_no_negatives(directions: Any, evaluator: Any) -> None:
    x, y = (F.normalize(torch.randn(6, 4, dtype=torch.float64), dim=-1) for _ in range(2))
    target = torch.tensor([3, 5, 3, 7, 5, 3])
    mine, theirs = (x.clone().requires_grad_() for _ in range(2))
    loss = _DistinctTargets(0.02, directions).double().evaluated(evaluator, (2, 3))(mine, y, target)
    expected = torch.zeros((), dtype=torch.float64)
    for logits in (theirs @ y.T / 0.02, y @ theirs.T / 0.02)[: 1 if directions == "one" else 2]:
        for i in range(6):
            among = [j for j in range(6) if j == i or target[j] != target[i]]
            expected = expected + logits[i, among].logsumexp(0) - logits[i, i]
    expected = expected / (6 if directions == "one" else 12)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_in_both_directions_without_instructions_it_is_clip() -> None:
    clip, method = build("clip"), build("vlm2vec", directions="both")
    clip.objective = InfoNCELoss(0.02)
    given = batch(method)
    torch.testing.assert_close([*run(method, given).values()], [*run(clip, given).values()])


def test_instructions_are_read_in_training_and_after_it() -> None:
    texts, options = ["a cat", "a dog", "a cat"], {"instruction": "Name it.", "target_instruction": "A name."}
    method, plain = embedder(**options).eval(), embedder().eval()
    decoded = method.tower("text").language.chat.decode(method.inputs["text"](texts)[0, 0])
    assert "Instruct: A name.\nQuery: a cat" in decoded
    views = {"image": torch.rand(3, 3, 16, 16), "text": method.inputs["text"](texts)}
    given = Batch(torch.arange(3), views)
    z = method.encode(given)
    assert torch.isfinite(method.losses(z, given, LATE)["vlm2vec"])
    pictures = (views["image"] * 255).byte()
    for column, raw in (("image", pictures), ("text", texts)):
        trained = method.features(column, method.inputs[column](raw))
        unit = F.normalize(method.project(column, trained, "global"), dim=-1)
        torch.testing.assert_close(method.embed(column, raw), unit)
        assert not torch.allclose(method.embed(column, raw), plain.embed(column, raw))
    assert method.fingerprint != plain.fingerprint


def test_equal_inputs_have_equal_numbers() -> None:
    pictures = torch.rand(3, 3, 4, 4)
    ids = content_ids(pictures[[0, 1, 0, 2]])
    assert ids[0] == ids[2]
    assert ids.unique().numel() == 3


def test_what_reads_no_instruction_is_refused() -> None:
    with pytest.raises(LookupError, match="reads no instruction"):
        build("vlm2vec", instruction="Name it.")
    texts = build_towers(
        Towers(vocabulary=300), {}, 0, columns={"a": "text", "b": "text"}, names={"text": "lm"}
    )
    with pytest.raises(ValueError, match="read by one tower"):
        create("vlm2vec", texts, RECIPE, instruction="Name it.")
