"""Task vectors: means at the last token, heads replaced before the projection, the search, and what stays as it was."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from counterpoint.methods._head_search import masks_of, policy_loss
from counterpoint.methods.task_vectors import TaskVectors
from counterpoint.networks.attention_heads import AttentionHeads
from counterpoint.raw import Exchange
from counterpoint.recipes.schema import Recipe
from counterpoint.types import Batch, Prompt, StepInfo
from fixtures.speaking import PICTURES, RECIPE, TALKS, batch_of, speaking

SMALL = {"examples": 1, "prompts": 3, "held": 2, "steps": 4, "masks": 6, "judged": 2, "lr": 0.5}
WIDE = RECIPE.model_copy(
    update={"towers": RECIPE.towers.model_copy(update={"talk_width": 64, "talk_context": 64})}
)
PROMPTS = [Prompt("What is it?", PICTURES[0]), Prompt("What is it?", PICTURES[1])]


def small(recipe: Recipe = WIDE, **options: object) -> TaskVectors:
    stated = ",".join(f"{name}={str(value).lower()}" for name, value in {**SMALL, **options}.items())
    method = speaking(f"task-vectors,{stated}", "talk", recipe=recipe)
    assert isinstance(method, TaskVectors)
    return method


def fitted(**options: object) -> tuple[TaskVectors, Batch]:
    method = small(**options)
    batch = batch_of(method)
    torch.manual_seed(0)
    examples: Any = SimpleNamespace(ids=batch.ids, labels={}, map=lambda f: f(batch))
    with torch.no_grad():
        method.on_epoch_start(examples, StepInfo(0, 1))
    return method, batch


def by_hand(
    method: Any, tokens: torch.Tensor, patches: torch.Tensor, first: int, values: Any, chosen: Any
) -> Any:
    """Return the logits behind tokens, computed with projections that are changed from a position on."""
    language = copy.deepcopy(method.language)
    for layer, block in enumerate(language.layers):
        projection = block.self_attn.o_proj
        forward, weight = projection.forward, projection.weight

        def changed(x: Any, layer: int = layer, weight: Any = weight) -> Any:
            x = x.clone()
            width = values.shape[2]
            for row in range(len(x)):
                for head in range(values.shape[1]):
                    if chosen[layer, head]:
                        x[row, first:, head * width : (head + 1) * width] = values[layer, head]
            return x @ weight.T

        assert forward is not None
        projection.forward = changed
    given = method.speaker.given(patches)
    embedded = method.speaker.embedded(tokens, given)
    return language.head(language.token_states(embedded)[:, -1])


def test_heads_are_replaced_before_the_projection_in_every_row_at_the_last_token() -> None:
    method, _ = fitted()
    method.values.normal_(generator=torch.Generator().manual_seed(1))
    method.chosen.copy_(torch.tensor([[True, False], [False, True]]))
    for _, tokens, patches, at in method._prompted(PROMPTS):
        expected = by_hand(
            method,
            tokens,
            patches,
            tokens.shape[1] + method.speaker.bridge.tokens - 1,
            method.values,
            method.chosen,
        )
        torch.testing.assert_close(
            method.next_logits(tokens, patches, at), expected.float(), check_dtype=False
        )
        # A token that was written is replaced too, and those before the last of the request are not.
        longer = torch.cat([tokens, tokens[:, -1:]], 1)
        expected = by_hand(
            method,
            longer,
            patches,
            tokens.shape[1] + method.speaker.bridge.tokens - 1,
            method.values,
            method.chosen,
        )
        torch.testing.assert_close(
            method.next_logits(longer, patches, at), expected.float(), check_dtype=False
        )


def test_the_likelihood_of_a_reply_is_that_of_the_model_as_it_writes() -> None:
    method, _ = fitted(heads="all")
    method.values.normal_(generator=torch.Generator().manual_seed(1))
    score = float(method.log_p(PROMPTS[:1], ["No."])[0])
    ((_, prompt, patches, at),) = method._prompted(PROMPTS[:1])
    talk = method.language.chat([(Exchange("What is it?", "No."),)])[0]
    reply = talk[0, talk[1] > 0]
    total, tokens = 0.0, prompt
    for token in reply:
        total += float(method.next_logits(tokens, patches, at).log_softmax(1)[0, token])
        tokens = torch.cat([tokens, token.view(1, 1)], 1)
    assert score == pytest.approx(total, rel=1e-5)
    assert score != pytest.approx(float(speaking("sft", "talk", recipe=WIDE).log_p(PROMPTS[:1], ["No."])[0]))


@pytest.mark.parametrize("answer", ["first", "all"])
def test_masks_behind_one_cache_have_the_losses_of_whole_prompts(answer: str) -> None:
    method, batch = fitted(answer=answer)
    masks = torch.rand(5, *method.chosen.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    masks[0] = False
    talk, patches = batch["talk"][1], method.speaker.patches(batch["image"][1:2])
    losses = method._losses_of(talk, patches[0], masks)
    start, reply = int(talk[1].argmax()), talk[0, talk[1] > 0]
    reply = reply[:1] if answer == "first" else reply
    given = method.speaker.given(patches)
    for mask, loss in zip(masks, losses, strict=True):
        where = torch.zeros(1, start + len(reply) - 1 + given.tokens.shape[1], dtype=torch.bool)
        where[0, -len(reply)] = True
        with method.attention_heads.replaced(method.values, mask, where):
            states = method.speaker.sequence_states(talk[None, 0, : start + len(reply) - 1], given)
        logits = method.language.head(states[0, -len(reply) :])
        torch.testing.assert_close(loss, F.cross_entropy(logits, reply), check_dtype=False)


def test_the_mean_is_of_the_last_token_behind_examples() -> None:
    method, _ = fitted(prompts=1, pictures=False)
    generator = torch.Generator().manual_seed(3)
    batch = batch_of(method)
    patches = method.speaker.patches(batch["image"])
    means = method._means(batch["talk"], patches, generator)
    shown, asked = torch.randperm(4, generator=torch.Generator().manual_seed(3))[:2].tolist()
    chat = method.language.chat
    turns = [TALKS["talk"][shown][0], Exchange(TALKS["talk"][asked][0].request, "")]
    row = chat([tuple(turns)])[0]
    tokens = row[0, row[2] > 0]
    with method.attention_heads.recorded() as outputs:
        method.speaker.next_logits(tokens[None], patches[asked][None])
    torch.testing.assert_close(means, torch.stack([of_layer[0, -1] for of_layer in outputs]))


def test_nothing_of_the_model_moves_and_without_heads_it_is_the_model() -> None:
    before = {name: p.clone() for name, p in small().named_parameters()}
    method, _ = fitted()
    after = dict(method.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and not after[name].requires_grad for name in before)
    method.reply(PROMPTS, max_tokens=3)
    assert all(torch.equal(before[name], p) for name, p in method.named_parameters())
    assert method.values.abs().sum() > 0
    none, _ = fitted(heads="none")
    plain = speaking("sft,tune_image=frozen", "talk", recipe=WIDE)
    assert none.reply(PROMPTS, max_tokens=6) == plain.reply(PROMPTS, max_tokens=6)
    torch.testing.assert_close(
        none.log_p(PROMPTS, ["No.", "A cat."]), plain.log_p(PROMPTS, ["No.", "A cat."])
    )


def test_the_search_prefers_heads_with_a_low_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    good = torch.tensor([[True, False], [False, False]])

    def losses(self: TaskVectors, talk: Any, patches: Any, masks: torch.Tensor) -> torch.Tensor:
        return (masks != good).sum((1, 2)).float()

    monkeypatch.setattr(TaskVectors, "_losses_of", losses)
    method, _ = fitted(steps=60)
    assert torch.equal(method.chosen, good)
    other, _ = fitted(steps=60, heads="random")
    assert int(other.chosen.sum()) == 1
    every, _ = fitted(heads="all")
    assert bool(every.chosen.all())


def test_masks_with_a_limit_are_those_of_the_bernoullis_that_have_few_heads() -> None:
    theta, count = torch.tensor([[1.0, -1.0], [0.5, 3.0]]), 20000
    masks = masks_of(theta, count, 2, torch.Generator().manual_seed(0)).flatten(1)
    assert int(masks.sum(1).max()) == 2
    p, expected = theta.flatten().sigmoid().tolist(), {}
    for mask in itertools.product((False, True), repeat=4):
        if sum(mask) <= 2:
            expected[mask] = math.prod(q if on else 1 - q for q, on in zip(p, mask, strict=True))
    counts = Counter(map(tuple, masks.tolist()))
    for mask, probability in expected.items():
        share = counts[mask] / count
        assert share == pytest.approx(probability / sum(expected.values()), abs=0.012)
    free = masks_of(theta, count, 4, torch.Generator().manual_seed(0)).float().mean(0)
    torch.testing.assert_close(free, theta.sigmoid(), atol=0.012, rtol=0)


def test_a_limit_of_heads_holds_for_the_chosen_and_the_random_ones() -> None:
    assert int(fitted(most=1, start=3)[0].chosen.sum()) <= 1
    assert int(fitted(most=1, start=3, heads="random")[0].chosen.sum()) <= 1


def test_equal_losses_teach_nothing() -> None:
    theta = torch.zeros(2, 2, requires_grad=True)
    policy_loss(theta, torch.rand(4, 2, 2) < 0.5, torch.ones(4)).backward()
    assert theta.grad is not None
    assert not theta.grad.any()


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    method = small()
    method.check_start(4)
    with pytest.raises(ValueError, match="3 rows without held=2 are no request with examples=1"):
        method.check_start(3)
    with pytest.raises(LookupError, match="without attention heads"):
        AttentionHeads(speaking("sft,lm=mamba", "talk").language)
    with pytest.raises(ValueError, match="changes layers of the language model"):
        small(bridge="crossed")
    method = small(RECIPE, examples=3)
    batch = batch_of(method)
    patches = method.speaker.patches(batch["image"])
    with pytest.raises(ValueError, match="take fewer examples"):
        method._means(batch["talk"], patches, torch.Generator())
    several = (Exchange("What is it?", "A cat."), Exchange("Why?", "No."))
    monkeypatch.setitem(TALKS, "talk", [several] * 4)
    with pytest.raises(ValueError, match="rows of one exchange"):
        fitted()
