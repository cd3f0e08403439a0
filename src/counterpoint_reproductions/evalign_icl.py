"""EvALign-ICL: a vision-language model that corrects itself after examples abstains better than one that does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from counterpoint.data.base import Rows
from counterpoint.data.items import Choices, Questions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.decoding.prompts import image_of, messages_of, pictures_of
from counterpoint.evaluation.in_context_shots import (
    NOTHING,
    ZERO_SHOT,
    InContextExample,
    PlainFormat,
    Shots,
    sentence,
)
from counterpoint.evaluation.prompts import INSTRUCTIONS
from counterpoint.evaluation.statistic import STATISTICS
from counterpoint.evaluation.task import AnsweringTask
from counterpoint.evaluation.tasks.abstention import ABSURD, KINDS, RELEVANT, Abstention
from counterpoint.evaluation.tasks.captioning import Captioning
from counterpoint.evaluation.tasks.matching import FOILS, WHETHER, Matching
from counterpoint.networks.tiny_vlm import ASSISTANT, END, default_model_path, world
from counterpoint.statistics import Statistic
from counterpoint.types import Prompt, Turn

from .lab import Arrays, Lab, Result, Score, above, arm, decides, effects, secondary, within
from .lab.descent import minimise

CLAIM = (
    "After the same examples, asking a vision-language model in a second step whether a question describes "
    "its picture raises the F1 of abstaining from absurd questions over answering in one step."
)
REFUTED = "the second step does not raise it"
SHARE = effects.convention("share")


DRAWS, ROWS, STEPS, BATCH, LR = 5, 50, 400, 16, 5e-4
"""Draws of the examples; pictures that are asked about; steps of the tuning and episodes in each."""
MOST = 4
SHOTS = (NOTHING, ZERO_SHOT, Shots(2), Shots(MOST))
EPISODES = 400
"""Rows of training that episodes are made of."""
ABSTENTIONS = ("does not apply", "no answer", "cannot be said", "unknown")
"""Replies to absurd questions; only the examples of an episode tell which reply the episode uses."""
TASKS: Mapping[str, Callable[[Shots], AnsweringTask]] = {
    "captioning": Captioning,
    "abstention": Abstention,
    "correction": partial(Abstention, variant="self-correcting"),
    "matching": Matching,
}


def material(world: Scenes, rows: Rows) -> dict[str, list[InContextExample]]:
    """Make examples for episodes: captions, open questions, whether these describe their picture, captions to check."""
    pictures = world.draw(rows).pictures
    questions = world.items(Questions, rows, KINDS)
    choices = world.items(Choices, rows, FOILS)
    question_pictures = questions.pictures(np.arange(len(questions)))
    shown = choices.pictures(np.arange(len(choices)))
    examples = {
        "caption": [
            InContextExample(picture, INSTRUCTIONS[0], world.captions(int(row))[0])
            for row, picture in zip(rows, pictures, strict=True)
        ],
        "question": [
            InContextExample(picture, it.text, it.answer, aside="no" if it.kind == ABSURD else "yes")
            for it, picture in zip(questions.questions, question_pictures, strict=True)
        ],
        "check": [
            InContextExample(
                picture,
                WHETHER.format(sentence(options[index % 2])),
                "yes" if answer == index % 2 else "no",
            )
            for index, (picture, options, answer) in enumerate(
                zip(shown, choices.options, choices.answers, strict=True)
            )
        ],
    }
    examples["relevance"] = [
        replace(it, text=f"{it.text} {RELEVANT}", reply=it.aside) for it in examples["question"]
    ]
    return examples


def episode(examples: Mapping[str, Sequence[InContextExample]], rng: np.random.Generator) -> Prompt:
    """Draw a conversation of up to `MOST` examples and a request of one kind, all with their replies.

    Absurd questions are as likely as all others together, so that always answering is no good guess.
    """
    kind = list(examples)[rng.integers(len(examples))]
    asides = [it.aside for it in examples[kind]]
    times = Counter(asides)
    chances = np.array([1 / (len(times) * times[aside]) for aside in asides])
    places = rng.choice(len(asides), int(rng.integers(0, MOST + 1)) + 1, replace=False, p=chances)
    abstention = ABSTENTIONS[rng.integers(len(ABSTENTIONS))]
    shown = [examples[kind][index] for index in places]
    if kind == "question":
        shown = [replace(it, reply=abstention) if it.aside == "no" else it for it in shown]
    form, pictures = PlainFormat(), rng.random() < 0.8  # else only the last picture is shown, as in zero-shot
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
        tensors = {name: inputs[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        with torch.autocast(model.device.type, torch.bfloat16):
            value: Tensor = model(**tensors, labels=replies(tensors["input_ids"], begin, end)).loss
        return value

    model.train()
    minimise(step, model.parameters(), steps=steps, lr=LR, seed=seed)
    model.eval()


def examined(model: str, steps: int, conversations: int, train_size: int, asked: int, draws: int) -> Arrays:
    """Tune a model on episodes, then ask it along three axes after more and more examples.

    Args:
        model: that is tuned.
        steps: of the tuning.
        conversations: episodes of each step.
        train_size: rows that episodes are made of.
        asked: pictures that are asked about.
        draws: of the examples.

    Returns:
        By task, number of examples, outcome: an array of draws × items; and the kinds of foils.
    """
    assistant = VisionLanguageAssistant.load(model, max_new_tokens=32)
    scenes = Scenes.parse(f"{world()},train={EPISODES},test={ROWS},corrupted=0")
    tune(assistant, scenes, steps=steps, batch=conversations, rows=train_size, seed=0)
    test_rows = next(iter(scenes.splits.test.values()))[:asked]
    outcomes: Arrays = {}
    for name, task in TASKS.items():
        for shots in SHOTS if name != "correction" else SHOTS[-1:]:
            seeds = range(draws if shots.count else 1)  # without examples there is nothing to draw
            runs = [task(shots)(assistant, scenes, test_rows, seed=seed) for seed in seeds]
            for outcome in runs[0].examples.columns[2:]:
                values = np.stack([run.examples[outcome].to_numpy() for run in runs])
                outcomes[f"{name}, {shots.name}, {outcome}"] = np.broadcast_to(
                    values, (draws, values.shape[1])
                )
            outcomes[f"{name}, kinds"] = np.array(runs[0].examples["subset"].to_list())
    return outcomes


class Measure(NamedTuple):
    """A number that is computed from a task's outcomes.

    Attributes:
        metric: in words.
        task: one of `TASKS`.
        columns: of an outcome.
        statistic: from outcomes to the number.
        kind: of the items that are counted; all unless given.
    """

    metric: str
    task: str
    columns: tuple[str, ...]
    statistic: Statistic = STATISTICS["mean"]
    kind: str | None = None

    def outcomes(self, arrays: Arrays, shots: Shots) -> dict[int, np.ndarray]:
        """Return the outcomes of every draw, without items that have none."""
        values = np.stack([arrays[f"{self.task}, {shots.name}, {column}"] for column in self.columns], -1)
        kept = ~np.isnan(values).any((0, 2))
        if self.kind is not None:
            kept &= arrays[f"{self.task}, kinds"] == self.kind
        return dict(enumerate(values[:, kept] if len(self.columns) > 1 else values[:, kept, 0]))

    def score(self, arrays: Arrays, shots: Shots = SHOTS[-1]) -> Score:
        return arm(self.task, self.outcomes(arrays, shots), self.metric, self.statistic)

    def means(self, arrays: Arrays) -> str:
        """Return the mean over draws by number of examples, for a note."""
        each = (
            np.mean([self.statistic(values) for values in self.outcomes(arrays, shots).values()])
            for shots in SHOTS
        )
        return ", ".join(f"{value:.3f} ({shots.name})" for value, shots in zip(each, SHOTS, strict=True))


ABSTAINING = Measure("F1 of abstaining", "abstention", ("absurd", "abstained"), STATISTICS["f1"])
ANSWERING = Measure("accuracy", "abstention", ("answered",))
INVENTING = Measure("CHAIRi", "captioning", ("mentions", "absent"), STATISTICS["share"])
MATCHING = Measure("accuracy", "matching", ("correct",), kind="atom")
RECALL = Measure("recall", "captioning", ("recall",))
WORDS = Measure("words", "captioning", ("words",))
AGREEING = Measure("share of yes", "matching", ("yes",))


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(
        examined,
        {},
        seeds=None,
        model=str(default_model_path()),
        steps=STEPS,
        conversations=BATCH,
        train_size=EPISODES,
        asked=ROWS,
        draws=DRAWS,
    )
    arrays = runs.first(())

    def correction(measure: Measure) -> Score:
        """Return the gain of correcting oneself over answering in one step."""
        return measure._replace(task="correction").score(arrays) - measure.score(arrays)

    def examples(measure: Measure) -> Score:
        """Return the gain of the most examples over none with pictures."""
        return measure.score(arrays) - measure.score(arrays, ZERO_SHOT)

    yield from decides(
        above(correction(ABSTAINING), name=f"A: self-correction − one step, {MOST} examples", **SHARE)
    )
    yield from secondary(
        above(
            correction(ANSWERING),
            -0.01,
            name=f"A: self-correction − one step, {MOST} examples, questions that have an answer",
        ),
        above(examples(ABSTAINING), name=f"{MOST} examples − zero-shot"),
        above(examples(INVENTING), name=f"B: {MOST} examples − zero-shot"),
        within(
            MATCHING.score(arrays) - 0.5,
            0.05,
            name=f"C: matching with an atom replaced, {MOST} examples, less chance",
        ),
    )
    absurd = arrays[f"abstention, {SHOTS[-1].name}, absurd"][0]
    lab.note(
        f"The tiny vision-language model that ships with the package, tuned once for {STEPS} steps of",
        f"{BATCH} conversations of up to {MOST} examples, in which absurd questions are answered in one of",
        f"{len(ABSTENTIONS)} ways that only the examples tell; seeds are {DRAWS} draws of the examples, not",
        f"trainings. {ROWS} pictures of held-out scenes; {absurd.mean():.0%} of the questions are absurd.",
        f"F1 of abstaining by number of examples: {ABSTAINING.means(arrays)}.",
        f"Share of mentions that are not there: {INVENTING.means(arrays)};",
        f"recall of what is there: {RECALL.means(arrays)}; words: {WORDS.means(arrays)}.",
        f"Matching, accuracy against an atom's foil: {MATCHING.means(arrays)}; share of yes:",
        f"{AGREEING.means(arrays)}.",
        "0 is two examples without pictures. Models of one size only: nothing is said of scale.",
    )
