"""EvALign-ICL: a vision-language model that corrects itself after examples abstains better than one that does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...catalog.evidence import Result
from ...data.base import Rows
from ...data.items import Choices, Questions
from ...data.worlds.scenes.items.chat import INSTRUCTIONS
from ...data.worlds.scenes.world import Scenes
from ...decoding.assistant import VisionLanguageAssistant
from ...decoding.prompts import image_of, messages_of, pictures_of
from ...evaluation.answering.in_context import NOTHING, ZERO_SHOT, Shots
from ...evaluation.answering.in_context.shots import Example, Plain, sentence
from ...evaluation.statistic import STATISTICS
from ...evaluation.task import AnsweringTask
from ...evaluation.tasks.in_context.abstention import ABSURD, KINDS, RELEVANT, Abstention
from ...evaluation.tasks.in_context.captioning import Captioning
from ...evaluation.tasks.in_context.matching import FOILS, WHETHER, Matching
from ...statistics import linear
from ...types import Prompt, Turn
from ..benches.descent import minimise
from ..lab import Arrays, Lab, measure

CLAIM = (
    "After the same examples, asking a vision-language model in a second step whether a question describes "
    "its picture raises the F1 of abstaining from absurd questions over answering in one step."
)
REFUTED = "the second step does not raise it"


SEEDS, ROWS, STEPS, BATCH, LR = 5, 50, 400, 16, 5e-4
"""Draws of the examples; pictures that are asked about; steps of the tuning and episodes in each."""
MOST = 4
SHOTS = (NOTHING, ZERO_SHOT, Shots(2), Shots(MOST))
EPISODES = 400
"""Rows of training that episodes are made of."""
ABSTENTIONS = ("does not apply", "no answer", "cannot be said", "unknown")
"""Replies to absurd questions; only the examples of an episode tell which reply the episode uses."""
ABSTAINING, ABSENT = ("absurd", "abstained"), ("mentions", "absent")
"""The columns of the F1 of abstaining, and of the share of mentions that are not there."""
TASKS: Mapping[str, Callable[[Shots], AnsweringTask]] = {
    "captioning": Captioning,
    "abstention": Abstention,
    "correction": partial(Abstention, variant="self-correcting"),
    "matching": Matching,
}


def material(world: Scenes, rows: Rows) -> dict[str, list[Example]]:
    """Make examples for episodes: captions, open questions, whether these describe their picture, captions to check."""
    pictures = world.draw(rows).pictures
    questions = world.items(Questions, rows, KINDS)
    choices = world.items(Choices, rows, FOILS)
    asked = questions.pictures(np.arange(len(questions)))
    shown = choices.pictures(np.arange(len(choices)))
    found = {
        "caption": [
            Example(picture, INSTRUCTIONS[0], world.captions(int(row))[0])
            for row, picture in zip(rows, pictures, strict=True)
        ],
        "question": [
            Example(picture, it.text, it.answer, aside="no" if it.kind == ABSURD else "yes")
            for it, picture in zip(questions.questions, asked, strict=True)
        ],
        "check": [
            Example(
                picture,
                WHETHER.format(sentence(options[place % 2])),
                "yes" if answer == place % 2 else "no",
            )
            for place, (picture, options, answer) in enumerate(
                zip(shown, choices.options, choices.answers, strict=True)
            )
        ],
    }
    found["relevance"] = [
        replace(it, text=f"{it.text} {RELEVANT}", reply=it.aside) for it in found["question"]
    ]
    return found


def episode(examples: Mapping[str, Sequence[Example]], rng: np.random.Generator) -> Prompt:
    """Draw a conversation of up to `MOST` examples and a request of one kind, all with their replies.

    Absurd questions are as likely as all others together, so that always answering is no good guess.
    """
    kind = list(examples)[rng.integers(len(examples))]
    asides = [it.aside for it in examples[kind]]
    times = Counter(asides)
    chances = np.array([1 / (len(times) * times[aside]) for aside in asides])
    places = rng.choice(len(asides), int(rng.integers(0, MOST + 1)) + 1, replace=False, p=chances)
    abstention = ABSTENTIONS[rng.integers(len(ABSTENTIONS))]
    shown = [examples[kind][place] for place in places]
    if kind == "question":
        shown = [replace(it, reply=abstention) if it.aside == "no" else it for it in shown]
    form, pictures = Plain(), rng.random() < 0.8  # else only the last picture is shown, as in zero-shot
    turns = [
        Turn(it.text, form.reply(it), it.picture if pictures or it is shown[-1] else None) for it in shown
    ]
    return Prompt("", None, tuple(turns))


def replies(ids: Int[Tensor, "b t"], assistant: int, end: int) -> Int[Tensor, "b t"]:
    """Keep the tokens that belong to a reply, its end included, and put −100 elsewhere."""
    opened = (ids == assistant).cumsum(1) - ((ids == end).cumsum(1) - (ids == end).long())
    return ids.masked_fill((opened <= 0) | (ids == assistant), -100)


def tune(
    assistant: VisionLanguageAssistant, world: Scenes, *, steps: int, batch: int, rows: int, seed: int
) -> None:
    """Teach a model to read examples: language model and projector learn every reply of episodes, the tower stays."""
    from ...networks.tiny_vlm import ASSISTANT, END

    model, processor = assistant.model, assistant.processor
    begin, end = processor.tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    examples = material(world, world.splits.train[:rows])
    model.model.vision_tower.requires_grad_(False)

    def step(rng: np.random.Generator) -> Tensor:
        episodes = [episode(examples, rng) for _ in range(batch)]
        # An episode's last turn is the request: no further one follows.
        texts = [processor.apply_chat_template(messages_of(each)[:-1], tokenize=False) for each in episodes]
        shown = [[image_of(picture) for picture in pictures_of(each)] for each in episodes]
        inputs = processor(
            text=texts, images=shown, padding=True, add_special_tokens=False, return_tensors="pt"
        ).to(model.device)
        given = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        with torch.autocast(model.device.type, torch.bfloat16):
            value: Tensor = model(**given, labels=replies(given["input_ids"], begin, end)).loss
        return value

    model.train()
    minimise(step, model.parameters(), steps=steps, lr=LR, seed=seed)
    model.eval()


def examined(model: str, world: str, steps: int, batch: int, episodes: int, rows: int, draws: int) -> Arrays:
    """Tune a model on episodes, then ask it along three axes after more and more examples.

    Returns:
        By task, number of examples, outcome: an array of draws × items; and the kinds of foils.
    """
    assistant = VisionLanguageAssistant.load(model, max_new_tokens=32)
    scenes = Scenes.parse(world)
    tune(assistant, scenes, steps=steps, batch=batch, rows=episodes, seed=0)
    asked = next(iter(scenes.splits.test.values()))[:rows]
    found: Arrays = {}
    for name, task in TASKS.items():
        for shots in SHOTS if name != "correction" else SHOTS[-1:]:
            seeds = range(draws if shots.count else 1)  # without examples there is nothing to draw
            runs = [task(shots)(assistant, scenes, asked, seed=seed) for seed in seeds]
            for outcome in runs[0].examples.columns[2:]:
                values = np.stack([run.examples[outcome].to_numpy() for run in runs])
                found[f"{name}, {shots.name}, {outcome}"] = np.broadcast_to(values, (draws, values.shape[1]))
            found[f"{name}, kinds"] = np.array(runs[0].examples["subset"].to_list())
    return found


def run(lab: Lab) -> Sequence[Result]:
    from ...networks.tiny_vlm import default_model_path, world

    size: dict[str, Any] = {
        "steps": STEPS,
        "batch": BATCH,
        "episodes": EPISODES,
        "rows": ROWS,
        "draws": SEEDS,
    }
    if lab.quick:
        size = {"steps": 2, "batch": 2, "episodes": 16, "rows": 12, "draws": 2}
    source = f"{world()},train={max(size['episodes'], 400)},test={size['rows']},corrupted=0"
    (found,) = lab.cells(
        examined, {"tuned": {"model": str(default_model_path()), "world": source, **size}}
    ).values()
    most = SHOTS[-1].name

    def of(task: str, shots: str, *columns: str, kind: str | None = None) -> dict[int, np.ndarray]:
        values = np.stack([found[f"{task}, {shots}, {column}"] for column in columns], -1)
        kept = ~np.isnan(values).any((0, 2))
        if kind is not None:
            kept &= found[f"{task}, kinds"] == kind
        return dict(enumerate(values[:, kept] if len(columns) > 1 else values[:, kept, 0]))

    def difference(
        name: str, metric: str, one: tuple[str, str], other: tuple[str, str], *columns: str, **rule: Any
    ) -> Result:
        arms = {"treatment": of(*one, *columns), "baseline": of(*other, *columns)}
        return measure.of_arms(name, metric, arms, linear({"treatment": 1, "baseline": -1}), **rule)

    def mean(task: str, *columns: str, statistic: Any = np.mean, kind: str | None = None) -> str:
        told = []
        for shots in SHOTS:
            values = of(task, shots.name, *columns, kind=kind)
            told.append(f"{np.mean([statistic(each) for each in values.values()]):.3f} ({shots.name})")
        return ", ".join(told)

    absurd = float(np.mean(of("abstention", most, "absurd")[0]))
    lab.note(
        f"The tiny vision-language model that ships with the package, tuned once for {size['steps']} steps of",
        f"{size['batch']} conversations of up to {MOST} examples, in which absurd questions are answered in one of",
        f"{len(ABSTENTIONS)} ways that only the examples tell; seeds are {size['draws']} draws of the examples, not",
        f"trainings. {size['rows']} pictures of held-out scenes; {absurd:.0%} of the questions are absurd.",
        f"F1 of abstaining by number of examples: {mean('abstention', *ABSTAINING, statistic=STATISTICS['f1'])}.",
        f"Share of mentions that are not there: {mean('captioning', *ABSENT, statistic=STATISTICS['share'])};",
        f"recall of what is there: {mean('captioning', 'recall')}; words: {mean('captioning', 'words')}.",
        f"Matching, accuracy against an atom's foil: {mean('matching', 'correct', kind='atom')}; share of yes:",
        f"{mean('matching', 'yes')}. 0 is two examples without pictures. Models of one size only: nothing is said of",
        "scale.",
    )
    correction, plain = ("correction", most), ("abstention", most)
    atoms = {"matching": of("matching", most, "correct", kind="atom")}
    results = [
        difference(
            f"A: self-correction − one step, {most} examples",
            "F1 of abstaining",
            correction,
            plain,
            *ABSTAINING,
            statistic=STATISTICS["f1"],
            expected="above",
        ),
        difference(
            f"A: self-correction − one step, {most} examples, questions that have an answer",
            "accuracy",
            correction,
            plain,
            "answered",
            expected="above",
            bound=-0.01,
            decides=False,
        ),
        difference(
            f"{most} examples − zero-shot",
            "F1 of abstaining",
            plain,
            ("abstention", ZERO_SHOT.name),
            *ABSTAINING,
            statistic=STATISTICS["f1"],
            expected="above",
            decides=False,
        ),
        difference(
            f"B: {most} examples − zero-shot",
            "CHAIRi",
            ("captioning", most),
            ("captioning", ZERO_SHOT.name),
            *ABSENT,
            statistic=STATISTICS["share"],
            expected="above",
            decides=False,
        ),
        measure.of_arms(
            f"C: matching with an atom replaced, {most} examples, less chance",
            "accuracy",
            atoms,
            lambda score: score["matching"] - 0.5,
            expected="within",
            bound=0.05,
            decides=False,
        ),
    ]
    return results
