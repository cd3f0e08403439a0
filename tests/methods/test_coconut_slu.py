"""COCONUT: tasks in turn, the memory, what rehearsed rows are held against, padding, intents, and resumed runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from method_stubs import FIVE, LATE, WordTokenizer, batch, build
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation.forgetting import stream_numbers
from counterpoint.methods.coconut_slu import PREVIOUS, CoconutSLU, _timed
from counterpoint.networks.herding import herded
from counterpoint.recipes.schema import Recipe
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import Batch, StepInfo, Target

TASKS = [StepInfo(8 * n, 32, stage=f"task {n + 1}") for n in range(4)]
CLASSES = torch.tensor([0, 1, 2, 3, 4] * 4)
"""Of 20 rows; classes 0 and 1 are of the first task, the others of one each."""


def coconut(**options: Any) -> CoconutSLU:
    method = build("coconut-slu", **{"tasks": 4, **options})
    assert isinstance(method, CoconutSLU)
    return method


def a_batch(method: Any, size: int = 8) -> Batch:
    given = batch(method, size=size, dtype=torch.float64)
    tokens = given["text"].clone()
    tokens[0, 2] = WordTokenizer.end
    return replace(given, views={**given.views, "text": tokens}, labels={"group": CLASSES[:size].clone()})


def look(method: CoconutSLU, clock: StepInfo, sounds: Tensor | None = None) -> None:
    given = Batch(torch.arange(20), {} if sounds is None else {"audio": sounds}, {"group": CLASSES})
    torch.manual_seed(0)
    with torch.no_grad():
        method.on_epoch_start(
            SimpleNamespace(ids=given.ids, labels=given.labels, map=lambda f: f(given)), clock
        )


def rehearsing(**options: Any) -> tuple[CoconutSLU, Batch]:
    """A method in its third task, rows 0, 1, 5 and 6 of the batch being rehearsed."""
    method = coconut(**options).double()
    given = a_batch(method)
    groups = torch.tensor([1.0, 1, 0, 0, 0, 1, 1, 0])
    method.items.store(given.ids, group=groups)
    with torch.no_grad():
        for weight in method.previous.parameters():
            weight += 0.1  # the model of the last task is another one
    return method, given


def terms(method: CoconutSLU, given: Batch) -> dict[str, Tensor]:
    z = method.targets(given) | method.encode(given)
    return method.losses(z, given, LATE)


def vectors(method: CoconutSLU, given: Batch) -> tuple[Tensor, Tensor, Tensor]:
    audio, text = (
        F.normalize(method.project(c, method.features(c, given[c]), "global"), dim=-1) for c in method.columns
    )
    return audio, text, method.targets(given)[PREVIOUS + "audio"]


@pytest.mark.parametrize("negatives", ["student", "teacher"])
def test_anchors_of_distillation_are_rehearsed_rows_alone(negatives: str) -> None:
    method, given = rehearsing(negatives=negatives)
    classes, rehearsed = given.labels["group"], [0, 1, 5, 6]
    a, _, old = vectors(method, given)
    losses = []
    for k in rehearsed:
        positives = [p for p in rehearsed if classes[p] == classes[k]]
        assert len(positives) == 2  # the copy's vector of the row itself is one
        for p in positives:
            s = (a[k] @ old[p] / 0.1).exp()
            if negatives == "teacher":
                others = sum((a[k] @ old[i] / 0.1).exp() for i in range(8))
            else:
                others = s + sum((a[k] @ a[i] / 0.1).exp() for i in range(8) if i != k)
            losses.append(-(s / others).log() / 2)
    torch.testing.assert_close(terms(method, given)["nspt"], 0.1 * torch.stack(losses).sum() / 4)


def test_both_modalities_meet_on_current_rows_or_on_all() -> None:
    for option, anchors in (("current", [2, 3, 4, 7]), ("all", range(8))):
        method, given = rehearsing(anchors=option)
        a, t, _ = vectors(method, given)
        classes, losses = given.labels["group"], []
        for x, y in ((a, t), (t, a)):
            log_p = (x @ y.T / 0.1).log_softmax(1)
            losses += [-log_p[k][classes == classes[k]].mean() / len(anchors) for k in anchors]
        torch.testing.assert_close(terms(method, given)["multimodal"], 0.1 * torch.stack(losses).sum())


def test_there_is_no_distillation_without_rehearsed_rows_or_before_the_second_task() -> None:
    method, given = rehearsing()
    method.items.store(given.ids, group=torch.zeros(8))
    assert terms(method, given)["nspt"].item() == 0
    method.task.fill_(0)
    assert set(terms(method, given)) == {"slu", "multimodal"}
    assert set(terms(coconut(nspt=0.0, multimodal=0.0).double(), given)) == {"slu"}


def test_the_previous_model_has_no_gradient_and_is_in_evaluation_mode() -> None:
    method, given = rehearsing()
    method.train()
    torch.stack(list(terms(method, given).values())).sum().backward()
    assert not method.previous.training
    assert all(weight.grad is None for weight in method.previous.parameters())
    assert all(weight.grad is not None for weight in method.towers.parameters())
    with torch.no_grad():
        before = method.targets(given)[PREVIOUS + "audio"]
        next(method.towers.parameters()).mul_(2)
        torch.testing.assert_close(method.targets(given)[PREVIOUS + "audio"], before)
        method.begin_task()
        assert not torch.allclose(method.targets(given)[PREVIOUS + "audio"], before)


def test_padding_changes_nothing() -> None:
    method = coconut().double()
    given = a_batch(method)
    sounds, tokens = given["audio"].clone(), given["text"].clone()
    sounds[0, 12:], tokens[0, 3:] = torch.nan, 7
    whole = method.encode(replace(given, views={"audio": sounds, "text": tokens}))
    alone = method.encode(
        Batch(given.ids[:1], {"audio": sounds[:1, :12], "text": tokens[:1, :3]}, {"group": CLASSES[:1]})
    )
    for name, value in alone.items():
        torch.testing.assert_close(whole[name][:1], value)


def test_the_intent_is_the_first_token_and_the_transcript_follows() -> None:
    method = coconut().double()
    torch.nn.init.normal_(method.decoder.head.weight)
    given = a_batch(method)
    given.labels["group"][3] = -1
    states, z = method.sounds.states(given["audio"]), method.encode(given)["likelihood.text"]
    for row in (0, 1, 3):
        words = given["text"][row].tolist()
        words = words[: words.index(WordTokenizer.end) + 1] if WordTokenizer.end in words else words
        intent = int(given.labels["group"][row])
        said = [method.words + max(intent, 0), *words]
        log_p = torch.zeros((), dtype=torch.float64)
        for place in range(intent < 0, len(said)):
            read = torch.tensor([[method.decoder.start, *said[:place]]])
            logits = method.decoder.head(method.decoder(read, _timed(states[row : row + 1]))[0, -1])
            log_p = log_p + logits.log_softmax(0)[said[place]]
        torch.testing.assert_close(z[row], torch.stack([log_p, log_p.new_tensor(len(said) - (intent < 0))]))


def test_classes_are_told_by_the_first_token_and_words_are_written_behind_it() -> None:
    method = coconut()
    torch.nn.init.normal_(method.decoder.head.weight)
    sounds = method.inputs["audio"]
    raw = load_any("sounds:basic,train=2,validation=1,test=1").read("audio", np.arange(3))
    raw = replace(raw, samples=raw.samples[:, :60], rate=sounds.rate)
    p = method.classify({"audio": raw})
    assert p.shape == (3, 5)
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    states = method.sounds.states(sounds(raw))
    start = torch.full((3, 1), method.decoder.start)
    first = method._next_logits(start, states)
    torch.testing.assert_close(p, first[:, method.words :].softmax(1))
    assert first[:, : method.words].isinf().all()
    intents = first.argmax(1, keepdim=True)
    assert method._next_logits(torch.cat([start, intents], 1), states)[:, method.words :].isinf().all()
    with pytest.raises(LookupError, match="cannot turn tokens into text"):
        method.transcribe(raw)
    method.tokenizer.decode = lambda tokens: " ".join(map(str, tokens.tolist()))
    try:
        written = method.transcribe(raw)
    finally:
        del method.tokenizer.decode
    for tokens, intent, one in zip(written, intents, range(3), strict=True):
        read = torch.cat([start[:1], intent[None]], 1)
        for token in map(int, tokens.split()):
            following = method._next_logits(read, states[one : one + 1]).argmax(1, keepdim=True)
            assert int(following) == token < method.words
            read = torch.cat([read, following], 1)


def test_tasks_come_in_turn_with_the_memory_of_earlier_ones() -> None:
    method = coconut(selection="random", memory=0.5)
    method.task.zero_()
    assert method.groups(torch.arange(20)) is None
    task_of, earlier = torch.tensor([0, 0, 1, 2, 3])[CLASSES], torch.zeros(20, dtype=torch.bool)
    for number, clock in enumerate(TASKS):
        look(method, clock)
        groups = method.groups(torch.arange(20))
        assert groups is not None
        assert torch.equal(groups == 0, task_of == number)
        remembered = groups == 1
        assert remembered[earlier].all()  # what was chosen once stays
        # 0.5 of 20 rows are two of each of five classes.
        assert remembered.sum() == 2 * (CLASSES[task_of < number]).unique().numel()
        assert method.numbers()["memory"] == remembered.sum()
        assert int(method.task) == number
        earlier = remembered
    method.balanced = False
    union = method.groups(torch.arange(20))
    assert union is not None
    assert torch.equal(union, torch.where(earlier | (task_of == 3), 0, -1))


def test_a_memory_of_nothing_and_one_of_a_row_of_each_class() -> None:
    for share, expected in ((0.0, 0), (0.01, 2)):
        method = coconut(selection="random", memory=share)
        look(method, TASKS[0])
        look(method, TASKS[1])
        assert method.numbers()["memory"] == expected


def test_rows_are_remembered_by_herding() -> None:
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    chosen: list[int] = []
    for _ in range(4):
        left = [row for row in range(9) if row not in chosen]
        chosen.append(min(left, key=lambda row: float((z[[*chosen, row]].mean(0) - z.mean(0)).norm())))
    assert herded(z, 4).tolist() == chosen
    assert sorted(herded(z, 20).tolist()) == [*range(9)]
    method = coconut(memory=0.5)
    sounds = torch.randn(20, 40, generator=torch.Generator().manual_seed(0))
    look(method, TASKS[0], sounds)
    look(method, TASKS[1], sounds)
    with torch.no_grad():
        features = F.normalize(method.features("audio", sounds), dim=1)
    rows = (CLASSES == 1).nonzero()[:, 0]
    (groups,) = method.items.recall(torch.arange(20))
    assert set(rows[groups[rows] == 1].tolist()) == set(rows[herded(features[rows], 2)].tolist())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="tasks=6: the label has 5 classes"):
        coconut(tasks=6)
    with pytest.raises(ValueError, match="learns the classes of a label"):
        coconut(target=None)
    target = Target("group", (*FIVE.classes, "f", "g", "h"))
    method = coconut(selection="random", target=target)
    look(method, TASKS[0])
    look(method, TASKS[1])
    with pytest.raises(ValueError, match="no row to train on is of a class of task 4"):
        look(method, TASKS[3])


RECIPE = Recipe(
    batch_size=8,
    steps=9,
    checkpoint_every=1,
    validate_every=9,
    threads=1,
    towers={"text": "transformer", "vocabulary": 280, "context": 8, "audio_seconds": 0.3, "audio_bands": 20},
    widths={"embedding": 8},
)
RUN = Run(
    "coconut-slu,tasks=3,memory=0.2", "sounds:basic,train=40,validation=4,test=4", RECIPE, labels="source"
)


def trained(folder: Path | None, stop: int = 0) -> CoconutSLU:
    def on_step(now: TrainingProgress) -> None:
        if stop and now.step == stop:
            raise KeyboardInterrupt

    method, loader = prepare(RUN, load_any(RUN.data), folder)
    assert isinstance(method, CoconutSLU)
    fit(method, loader, RECIPE, folder, on_step=on_step)
    return method


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 7])
def test_a_run_goes_on_exactly(tmp_path: Path, stop: int) -> None:
    """Stages begin at steps 3 and 6. The progress of a step comes before its checkpoint."""
    whole = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, stop)
    resumed = trained(tmp_path).state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed[name], value), name
    assert whole.numbers()["memory"] > 0


def test_half_of_a_batch_is_rehearsed() -> None:
    method, loader = prepare(RUN, load_any(RUN.data))
    ids = torch.from_numpy(loader.data.ids_of(loader.order.rows(0, 1)))
    groups = torch.full((len(ids),), -1)
    groups[:10], groups[10:12] = 0, 1
    loader.regroup(lambda _: groups, method.group_sampler)
    for step in range(4):
        drawn = [int((ids == one).nonzero()) for one in loader.batch(step).ids]
        assert sum(row < 10 for row in drawn) == sum(10 <= row < 12 for row in drawn) == 4


def test_numbers_of_tasks_in_turn() -> None:
    accuracy = np.array([[0.9, 0.5, 0.0], [0.95, 0.8, 0.0], [0.5, 0.7, 0.6]])
    assert stream_numbers(accuracy) == {
        "last": 0.6,
        "average": round((0.9 + 0.875 + 0.6) / 3, 12),
        "forgetting": 0.275,
    }
    assert stream_numbers(np.array([[0.5]]))["forgetting"] == 0
    with pytest.raises(ValueError, match="are a square"):
        stream_numbers(np.zeros((2, 3)))
