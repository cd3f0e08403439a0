"""Finedefics: the contrast as plain loops, equal classes, hard negatives, the released term, and what learns."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE
from torch import Tensor

from counterpoint.methods.arm import Arm
from counterpoint.methods.finedefics import NAME, WRONG, WRONG_NAME
from counterpoint.networks.towers.chat import EXCHANGE, TOKEN
from counterpoint.networks.towers.embedder import prompt
from counterpoint.networks.tuning import tune
from counterpoint.types import Batch, Target
from fixtures.speaking import PICTURES, RECIPE, TALKS

TEXTS = ["a red cat", "dogs with a bus", "nothing at all", "a round ball"]
CLASSES = torch.tensor([0, 1, 0, 2])
TARGET = Target("group", ("cats", "dogs", "balls", "birds"))
COLUMNS = {"image": "image", "talk": "talk", "text": "text"}


def begun(options: str = "", classes: Tensor = CLASSES) -> tuple[Any, Batch]:
    examples = {"image": PICTURES, "talk": TALKS["talk"], "text": TEXTS}
    arm = Arm.parse(f"finedefics{options}")
    method = arm.build(RECIPE, examples, 0, columns=COLUMNS, target=TARGET).double().eval()
    views = {column: method.inputs[column](examples[column]) for column in COLUMNS}
    views["image"] = views["image"].double()
    batch = Batch(torch.arange(4), views, {"group": classes})
    with torch.no_grad():
        everything = SimpleNamespace(ids=batch.ids, labels=batch.labels, map=lambda f: f(batch))
        method.on_epoch_start(everything, LATE)
    return method, batch


def losses(method: Any, batch: Batch) -> dict[str, Tensor]:
    return dict(method.losses(method.encode(batch), batch, LATE))


def softmax(anchor: Tensor, target: Tensor, others: list[Tensor], tau: float) -> Tensor:
    logits = torch.stack([anchor @ y for y in (target, *others)]) / tau
    return logits.logsumexp(0) - logits[0]


@pytest.mark.parametrize("classes", [CLASSES, torch.tensor([0, 1, 3, -1])])
def test_is_the_loss_of_the_card(classes: Tensor) -> None:
    method, batch = begun(",negatives=2,temperature=0.2", classes)
    z, nearest = method.encode(batch), (method.nearest - 1).tolist()
    rows = [row for row in range(4) if classes[row] >= 0]
    y = {row: int(classes[row]) for row in rows}
    o, a, c, wa, wc = (
        F.normalize(z[name], dim=-1)
        for name in ("image", "text", NAME + "text", WRONG + "text", WRONG_NAME + "text")
    )
    hard = [(i, k, n) for i in rows for k, n in enumerate(nearest[y[i]]) if n >= 0]
    assert len(hard) == 2 * len(rows)

    def one_way(anchors: Tensor, targets: Tensor, wrong: Tensor | None = None) -> Tensor:
        terms = []
        for i in rows:
            others = [targets[j] for j in rows if y[j] != y[i]]
            if wrong is not None:
                others += [wrong[j, k] for j, k, number in hard if number != y[i]]
            terms.append(softmax(anchors[i], targets[i], others, 0.2))
        return torch.stack(terms).mean()

    made = method.losses(z, batch, LATE)
    torch.testing.assert_close(made["attribute"], (one_way(o, a, wa) + one_way(a, o)) / 4)
    torch.testing.assert_close(made["category"], (one_way(a, c, wc) + one_way(c, a, wa)) / 4)
    torch.testing.assert_close(made["names"], one_way(c, c, wc) / 2)


def test_released_term_has_the_first_name_as_every_target() -> None:
    method, batch = begun(",category_target=first,negatives=2,temperature=0.2")
    z = method.encode(batch)
    c, wrong = (F.normalize(z[name], dim=-1) for name in (NAME + "text", WRONG_NAME + "text"))
    columns = torch.cat([c, wrong.flatten(0, 1)])
    expected = F.cross_entropy(c @ columns.T / 0.2, torch.zeros(4, dtype=torch.long)) / 2
    torch.testing.assert_close(method.losses(z, batch, LATE)["names"], expected)


def test_rows_of_one_class_push_no_names_apart() -> None:
    method, batch = begun(",negatives=0", torch.zeros(4, dtype=torch.long))
    made = losses(method, batch)
    assert all(abs(float(made[name].detach())) < 1e-6 for name in ("attribute", "category", "names"))


@torch.no_grad()
def test_hard_negatives_are_the_classes_of_the_nearest_pictures() -> None:
    method, batch = begun(",negatives=5")
    features = method.speaker.patches(batch["image"]).mean(1)
    means = [features[number == CLASSES].mean(0) for number in range(3)]
    for own in range(3):
        others = [number for number in range(3) if number != own]
        order = sorted(others, key=lambda n: -float(F.cosine_similarity(means[own], means[n], dim=0)))
        assert method.nearest[own].tolist() == [*(number + 1 for number in order), 0, 0, 0]
    assert method.nearest[3].tolist() == [0] * 5  # a class that no example has
    expected = [batch["text"][row] for row in (0, 1, 3)]
    torch.testing.assert_close(method.descriptions[:3], torch.stack(expected))


@torch.no_grad()
def test_states_are_those_at_the_last_token_of_a_prompt() -> None:
    method, batch = begun()
    z, chat = method.encode(batch), method.language.chat
    for row, text in enumerate(TEXTS):
        talk = chat([prompt("", text)])[0]
        tokens = talk[TOKEN, : int((talk[EXCHANGE] > 0).sum())]
        alone = method.language.token_states(method.language.embed(tokens[None]))[0, -1]
        torch.testing.assert_close(z["text"][row], alone, rtol=1e-4, atol=1e-6)
    unread = replace(batch, views={**batch.views, "talk": batch["talk"].roll(1, 0)})
    torch.testing.assert_close(method.encode(unread)["image"], z["image"])  # no text stands beside a picture


def test_without_weight_it_is_sft_and_without_classes_its_likelihood_alone() -> None:
    method, batch = begun(",weight=0")
    sft = Arm.parse("sft").build(
        RECIPE,
        {"image": PICTURES, "talk": TALKS["talk"], "text": TEXTS},
        0,
        columns={"image": "image", "talk": "talk"},
    )
    sft = sft.double().eval()
    sft.load_state_dict(method.state_dict(), strict=False)
    own = replace(batch, views={name: batch[name] for name in ("image", "talk")})
    assert sum(losses(method, batch).values()) == losses(sft, own)["nll"]
    method, batch = begun("", torch.full((4,), -1))
    made = losses(method, batch)
    torch.testing.assert_close(made["nll"], losses(sft, own)["nll"])
    assert sum(made.values()) == made["nll"]


def test_temperatures_learn_with_low_rank_updates_and_nothing_is_held_constant() -> None:
    method, batch = begun()
    tune(method.language, "lora")
    method.double()
    torch.stack([*losses(method, batch).values()]).sum().backward()  # type: ignore[no-untyped-call] # torch's
    for objective in (method.of_objects, method.of_categories):
        assert float(objective.temperature.parameter.grad.abs()) > 0
    z = method.encode(batch)
    for value in z.values():
        value.retain_grad()
    torch.stack([*method.losses(z, batch, LATE).values()]).sum().backward()  # type: ignore[no-untyped-call] # torch's
    assert all(value.grad.abs().sum() > 0 for value in z.values())


def test_label_is_required() -> None:
    with pytest.raises(ValueError, match="learns classes"):
        Arm.parse("finedefics").build(
            RECIPE, {"image": PICTURES, "talk": TALKS["talk"], "text": TEXTS}, 0, columns=COLUMNS
        )
