"""MVCD: contrasting with the prompt without examples, where examples in context help at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...catalog.evidence import Result
from ...data.base import Rows
from ...data.items import Question
from ...data.worlds.rng import Rng
from ...data.worlds.scenes.items.chat import prompt
from ...data.worlds.scenes.items.questions import questions
from ...data.worlds.scenes.words import captions
from ...data.worlds.scenes.world import Scenes
from ...decoding.assistant import DESCRIBED
from ...evaluation.answering.asking import is_right
from ...networks.tiny_vlm import default_model_path, world
from ...types import Prompt, Turn
from ..benches.decoding import SEEDS, TEST, assistant
from ..lab import Arrays, Lab, measure

CLAIM = (
    "A small vision-language model answers questions whose usual answer is wrong better with worked examples "
    "than without, and better still when the prompt without examples is contrasted away."
)
REFUTED = "reading the examples does as well without the contrast"


SHOWN = 2
KINDS = ("choose count", "choose colour", "existence")
ASKED = 300


def asked(arm: str, seed: int, shown: int, count: int, path: str) -> Arrays:
    """Questions with the picture in words, after as many worked examples; whether each is answered.

    The questions are the same under every seed, the examples are not. Conflicts are questions whose answer is not the
    most frequent one of their kind.
    """
    data = Scenes.parse(world())
    told = list(_told(data, data.splits.train[: 4 * count], Rng(seed, 0, "shown")))
    tested = list(_told(data, data.splits.test[TEST][:count], Rng(0, 1, "asked")))
    rng = np.random.default_rng(seed)
    prompts, copied = [], []
    for text, _ in tested:
        examples = [told[k] for k in rng.choice(len(told), SHOWN, replace=False)]
        turns = tuple(Turn(said, question.answer.capitalize() + ".") for said, question in examples)
        prompts.append(Prompt(text, None, turns[:shown]))
        copied.append({question.answer for _, question in examples})
    replies = assistant(arm, seed, path, {"do_sample": True, "max_new_tokens": 6}).reply(prompts, seed=seed)
    right = [is_right(reply, question) for reply, (_, question) in zip(replies, tested, strict=True)]
    usual = {"one", "yes"}
    conflict = np.array([question.answer not in usual for _, question in tested])
    copies = [
        any(reply.lower().startswith(answer) for answer in answers) and not hit
        for reply, answers, hit in zip(replies, copied, right, strict=True)
    ]
    hits = np.array(right, float)
    return {"all": hits, "conflict": hits[conflict], "copied": np.array(copies, float)}


def _told(data: Scenes, rows: Rows, draws: Rng) -> list[tuple[str, Question]]:
    found: list[tuple[str, Question]] = []
    for row in map(int, rows):
        scene = data.scene(row)
        said = captions.short(scene).text
        for kind in draws.sample(f"kinds {row}", KINDS, len(KINDS)):
            ours = questions(kind, scene, Rng(row, 0, "mvcd"), data.config(row))
            if ours:
                one = ours[row % len(ours)]
                found.append(
                    (DESCRIBED.format(description=said.capitalize() + ".", question=prompt(one)), one)
                )
                break
    return found


def run(lab: Lab) -> Sequence[Result]:
    arms = {"MVCD": ("mvcd", SHOWN), "with examples": ("plain", SHOWN), "without examples": ("plain", 0)}
    seeds, count = lab.seeds(SEEDS), 10 if lab.quick else ASKED
    cells = {
        f"arm{place}-seed{seed}": {
            "arm": arm,
            "seed": seed,
            "shown": shown,
            "count": count,
            "path": str(default_model_path()),
        }
        for place, (arm, shown) in enumerate(arms.values())
        for seed in seeds
    }
    found = iter(lab.cells(asked, cells).values())
    runs = {name: {seed: next(found) for seed in seeds} for name in arms}

    def of(name: str, part: str) -> dict[int, np.ndarray]:
        return {seed: run[part] for seed, run in runs[name].items()}

    means = {
        name: np.mean([run["conflict"].mean() for run in by_seed.values()]) for name, by_seed in runs.items()
    }
    copies = {
        name: np.mean([run["copied"].mean() for run in by_seed.values()]) for name, by_seed in runs.items()
    }
    lab.note(
        f"Pictures come as captions, and {SHOWN} worked examples of other pictures before the question. The model was",
        "trained on conversations of a few turns about one picture, not on examples in context.",
        "Accuracy on the conflict set: " + ", ".join(f"{k} {v:.3f}" for k, v in means.items()) + ".",
        "Wrong answers that repeat an example's: "
        + ", ".join(f"{k} {v:.3f}" for k, v in copies.items())
        + ".",
        "Where examples do not help plain decoding, the test says nothing of the contrast.",
    )
    metric = "exact match"
    return [
        measure.difference(
            "MVCD − with examples, conflicts",
            metric,
            of("MVCD", "conflict"),
            of("with examples", "conflict"),
            expected="above",
        ),
        measure.difference(
            "with examples − without, conflicts",
            metric,
            of("with examples", "conflict"),
            of("without examples", "conflict"),
            expected="above",
        ),
        measure.difference(
            "MVCD − with examples, all",
            metric,
            of("MVCD", "all"),
            of("with examples", "all"),
            expected="above",
            decides=False,
        ),
        measure.difference(
            "MVCD − with examples, copies",
            "share of wrong answers that repeat an example's",
            of("MVCD", "copied"),
            of("with examples", "copied"),
            expected="below",
            bound=0.02,
            decides=False,
        ),
    ]
