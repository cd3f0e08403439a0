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
from counterpoint.networks.towers.chat import EXCHANGE, TOKEN
from counterpoint.raw import Exchange
from counterpoint.recipes.schema import Towers
from counterpoint.types import Batch

SIZES: dict[str, Any] = {"image_size": 16, "image_width": 16, "talk_width": 32, "talk_layers": 1}


TALKS = [(Exchange("Name it.", "cat"),), (Exchange("Count them.", "two"),), (Exchange("Name it.", "dog"),)]
PICTURES = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8)


def embedder(second: str = "text", **options: Any) -> Any:
    built = build_towers(
        Towers(**SIZES, vocabulary=300),
        {},
        0,
        columns={"image": "image", second: second},
        names={"image": "lm", second: "lm"},
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


def test_query_is_a_picture_with_its_request_and_target_is_the_reply() -> None:
    method = embedder("talk").eval()
    asked = {"image": PICTURES, "talk": TALKS}
    queries = method.embed("image+talk", asked)
    unanswered = [(exchange._replace(reply=""),) for (exchange,) in TALKS]
    torch.testing.assert_close(method.embed("image+talk", {**asked, "talk": unanswered}), queries)
    other = method.embed("image+talk", {**asked, "talk": TALKS[1:] + TALKS[:1]})
    assert not torch.isclose(queries[:2], other[:2]).all(1).any()
    torch.testing.assert_close(other[2], queries[2])  # the same request of the same picture

    # The query is the state where sft would begin the reply; the target that of the reply in the place of a request.
    tower = method.tower("image")
    for row, (exchange,) in enumerate(unanswered):
        tokens = tower.language.chat([(exchange,)])[:, TOKEN]
        tokens = tokens[:, : int((tower.language.chat([(exchange,)])[0, EXCHANGE] > 0).sum())]
        given = tower.speaker.given(tower.speaker.patches(method.inputs["image"](PICTURES[row : row + 1])))
        state = tower.speaker.states(tokens, given)[:, -1]
        torch.testing.assert_close(
            queries[row], F.normalize(method.project("image", state, "global"), dim=-1)[0]
        )
    replies = method.embed("talk", [(Exchange("", exchange.reply),) for (exchange,) in TALKS])
    torch.testing.assert_close(method.embed("talk", TALKS), replies)

    given = Batch(torch.arange(3), {column: method.inputs[column](raw) for column, raw in asked.items()})
    z = method.encode(given)
    loss = _DistinctTargets(0.02, "one")(queries, replies, torch.arange(3))
    torch.testing.assert_close(method.losses(z, given, LATE)["vlm2vec"], loss)


def test_without_requests_a_query_is_the_picture() -> None:
    method = embedder("talk", requests=False).eval()
    queries = method.embed("image+talk", {"image": PICTURES, "talk": TALKS})
    torch.testing.assert_close(queries, method.embed("image", PICTURES))


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
    with pytest.raises(ValueError, match="set requests=false"):
        embedder("talk", instruction="Name it.")
    with pytest.raises(ValueError, match="read by one tower"):
        create("vlm2vec", texts, RECIPE, instruction="Name it.")
