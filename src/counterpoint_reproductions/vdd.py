"""VDD: what a model answers without the picture is taken off what it answers with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from counterpoint.data.items import YES_OR_NO, Questions
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.items.forms import items_of
from counterpoint.data.synthetic.scenes.items.questions import questions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import VisionLanguageAssistant
from counterpoint.decoding.calibration import debiased
from counterpoint.evaluation.prompts import prompt
from counterpoint.evaluation.statistic import calibration_error
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.recipes.schema import Optimizer
from counterpoint.recipes.tiny_vlm import Language, TinyVLM
from counterpoint.training.tiny_vlm.conversations import GroundedExchange
from counterpoint.training.tiny_vlm.train import learn_to_speak, read_world
from counterpoint.types import Prompt

from .lab import Arrays, Grid, Lab, Result, above, below, decides, effects, secondary
from .lab.decoding import PICTURES, TEST, Replies, bad_pictures

CLAIM = (
    "After tuning on questions that are mostly answered yes, dividing by what a small vision-language model "
    "answers without the picture makes it more accurate on balanced questions; and on bad pictures "
    "contrasting with the model without picture lowers the share of mentioned things that are not there below "
    "what the plausibility rule does."
)
REFUTED = "the model is as accurate without the correction"
SHARE = effects.convention("share")


YES = 0.75
"""Share of the answers yes in the tuning."""
SCENES, STEPS = 2000, 150
TEMPERATURES = (0.25, 0.5, 1.0, 1.5)


def tuned(seed: int, scenes: int, steps: int, pictures: int, folder: str) -> Arrays:
    """Tune the shipped model on questions that are mostly answered yes, and judge it on balanced ones.

    Returns:
        Whether each answer is right, and whether it is yes, before and after the correction; the probability of the
        answer given.
    """
    ready = VisionLanguageAssistant.load(default_model_path(), batch_size=64)
    model, tokenizer = ready.model, ready.processor.tokenizer
    data = Scenes.parse(f"{world()},train={scenes}")
    recipe = TinyVLM(
        conversation=Language(steps=steps, optimizer=Optimizer(lr=3e-4, warmup=0.1)), blind=0.1, continued=0.0
    )
    read = read_world(data, recipe, lambda stage, done, whole, loss: None)
    conversations = [mostly_yes(data, int(row), seed) for row in data.splits.train]
    kept = [index for index, one in enumerate(conversations) if one]
    rows = torch.tensor(kept)
    read = type(read)(read.pictures[rows], read.seen[rows], [conversations[index] for index in kept])
    tuned_folder = Path(folder) / f"tuned-{scenes}-{steps}-{seed}"
    learn_to_speak(
        model, tokenizer, read, data.preset.config, recipe, tuned_folder, seed, lambda *progress: None
    )
    model.eval()
    bad = bad_pictures()
    items = items_of(bad, Questions, bad.splits.test[TEST][:pictures], ("existence",))
    shown = items.pictures(np.arange(len(items)))
    texts = [prompt(question) for question in items.questions]
    posterior, prior = (
        ready.word_logits(
            [Prompt(text, picture) for text, picture in zip(texts, images, strict=True)], YES_OR_NO
        )
        .double()
        .softmax(-1)
        for images in (shown, [None] * len(texts))
    )
    truth = torch.tensor([YES_OR_NO.index(question.answer) for question in items.questions])
    corrected = debiased(posterior, prior)
    outcomes: Arrays = {}
    for name, p in (("as it is", posterior), ("corrected", corrected)):
        outcomes[f"{name} right"] = (p.argmax(-1) == truth).double().numpy()
        outcomes[f"{name} yes"] = (p.argmax(-1) == 0).double().numpy()
        outcomes[f"{name} confidence"] = p.amax(-1).numpy()
    return outcomes


def mostly_yes(data: Scenes, row: int, seed: int) -> list[GroundedExchange]:
    """Return questions after things of one scene, answered yes three times of four."""
    exchanges: list[GroundedExchange] = []
    for time in range(4):
        draws = Rng(seed, row, f"mostly yes {time}")
        pair = questions("existence", data.scene(row), draws, data.config(row))
        answers = {question.answer: question for question in pair}
        if answers:
            one = answers["yes" if draws.happens("yes", YES) else "no"]
            exchanges.append(GroundedExchange(prompt(one), one.answer.capitalize() + "."))
    return exchanges


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(tuned, {}, folder=str(lab.folder), scenes=SCENES, steps=STEPS, pictures=PICTURES)
    right = runs.scores("{} right", f"accuracy of yes or no, bad pictures of {TEST} pairs")
    bias = runs.scores("{} yes", "mean over seeds", by_seed=off)
    arms = {"VDD": "vdd", "rule alone": "vdd,contrast=0", "plain": "plain"}
    captions = Replies(lab, arms, "chair")
    yield from decides(
        above(right["corrected"] - right["as it is"], name="corrected − as it is, accuracy", **SHARE),
        below(captions["VDD", "instances"] - captions["rule alone", "instances"], **SHARE),
    )
    yield from secondary(
        below(bias["corrected"] - bias["as it is"], name="corrected − as it is, |share of yes − ½|"),
        above(captions["VDD", "recall"] - captions["rule alone", "recall"], -0.02),
    )
    before, after = (np.mean([off(run) for run in bias.values(arm)]) for arm in ("as it is", "corrected"))
    lab.note(
        f"Post-hoc: tuned for {STEPS} steps on questions of which {YES:.0%} are answered yes, another order for each",
        "seed; judged on bad pictures, as many yes as no. The prior is what each question gets without the picture.",
        f"|share of yes − ½|: {before:.3f} as it is, {after:.3f} corrected.",
        *(
            f"Expected calibration error, {name}: {miscalibration(runs, name):.3f}."
            for name in ("as it is", "corrected")
        ),
        f"Accuracy of the shipped model on the same questions, plainly sampled: {sweep(lab)} by temperature.",
        captions.sentence("instances"),
        captions.sentence("words"),
    )


def off(yes: np.ndarray) -> float:
    """Return how far the share of yes is from a half."""
    return float(abs(yes.mean() - 0.5))


def miscalibration(runs: Grid, arm: str) -> float:
    """Compute the expected calibration error, mean over seeds."""
    both = [np.stack([run[f"{arm} confidence"], run[f"{arm} right"]], 1) for run in runs[()].values()]
    return float(np.mean([calibration_error(values) for values in both]))


def sweep(lab: Lab) -> str:
    """Measure accuracy of plain sampling by temperature: how much a number depends on how it is decoded."""
    options = {str(t): {"temperature": t} for t in TEMPERATURES}
    replies = Replies(
        lab, dict.fromkeys(options, "plain"), "pope", {"do_sample": True, "max_new_tokens": 4}, options
    )
    return ", ".join(f"{replies.mean(t, 'accuracy'):.3f} at {t}" for t in options)
