"""MVCD: contrasting with the prompt without examples, where examples in context help at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from counterpoint.data.base import Rows
from counterpoint.data.items import Question
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.items.questions import questions
from counterpoint.data.synthetic.scenes.words import captions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.decoding.assistant import DESCRIBED
from counterpoint.evaluation.prompts import prompt
from counterpoint.evaluation.replies import is_right
from counterpoint.networks.tiny_vlm import default_model_path, world
from counterpoint.types import Prompt, Turn

from .lab import Arrays, Lab, Result, above, below, decides, effects, secondary
from .lab.decoding import SEEDS, TEST, assistant

CLAIM = (
    "A small vision-language model answers questions whose usual answer is wrong better with worked examples "
    "than without, and better still when the prompt without examples is contrasted away."
)
REFUTED = "reading the examples does as well without the contrast, or examples do not help"
SHARE = effects.convention("share")


SHOWN = 2
KINDS = ("choose count", "choose colour", "existence")
ASKED = 300


def answered(arm: str, seed: int, shown: int, count: int, path: str) -> Arrays:
    """Ask questions with the picture in words, after worked examples, and note whether each is answered.

    The questions are the same under every seed, the examples are not. Conflicts are questions whose answer is not the
    most frequent one of their kind.
    """
    data = Scenes.parse(world())
    pool = list(_described_questions(data, data.splits.train[: 4 * count], Rng(seed, 0, "shown")))
    tested = list(_described_questions(data, data.splits.test[TEST][:count], Rng(0, 1, "asked")))
    rng = np.random.default_rng(seed)
    prompts, copied = [], []
    for text, _ in tested:
        examples = [pool[k] for k in rng.choice(len(pool), SHOWN, replace=False)]
        turns = tuple(Turn(request, question.answer.capitalize() + ".") for request, question in examples)
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


def _described_questions(data: Scenes, rows: Rows, draws: Rng) -> list[tuple[str, Question]]:
    pairs: list[tuple[str, Question]] = []
    for row in map(int, rows):
        scene = data.scene(row)
        description = captions.short(scene).text
        for kind in draws.sample(f"kinds {row}", KINDS, len(KINDS)):
            ours = questions(kind, scene, Rng(row, 0, "mvcd"), data.config(row))
            if ours:
                one = ours[row % len(ours)]
                pairs.append(
                    (DESCRIBED.format(description=description.capitalize() + ".", question=prompt(one)), one)
                )
                break
    return pairs


def run(lab: Lab) -> Iterator[Result]:
    arms = {
        "MVCD": {"arm": "mvcd", "shown": SHOWN},
        "with examples": {"arm": "plain", "shown": SHOWN},
        "without examples": {"arm": "plain", "shown": 0},
    }
    runs = lab.grid(answered, {"arm": arms}, seeds=SEEDS, count=ASKED, path=str(default_model_path()))
    conflict, every = runs.scores("conflict", "exact match"), runs.scores("all", "exact match")
    copied = runs.scores("copied", "share of wrong answers that repeat an example's")
    yield from decides(
        above(conflict["MVCD"] - conflict["with examples"], name="MVCD − with examples, conflicts", **SHARE),
        above(
            conflict["with examples"] - conflict["without examples"],
            name="with examples − without, conflicts",
            **SHARE,
        ),
    )
    yield from secondary(
        above(every["MVCD"] - every["with examples"], name="MVCD − with examples, all"),
        below(copied["MVCD"] - copied["with examples"], 0.02, name="MVCD − with examples, copies"),
    )
    lab.note(
        f"Pictures come as captions, and {SHOWN} worked examples of other pictures before the question. The model was",
        "trained on conversations of a few turns about one picture, not on examples in context.",
        f"Accuracy on the conflict set: {conflict.means()}.",
        f"Wrong answers that repeat an example's: {copied.means()}.",
        "Where examples do not help plain decoding, the test says nothing of the contrast.",
    )
