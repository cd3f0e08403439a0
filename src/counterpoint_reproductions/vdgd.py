"""VDGD: candidates that a description of the picture does not bear out are marked down."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Result, above, below, decides, effects, secondary
from .lab.decoding import Replies

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, sampling by "
    "how well a candidate fits the model's description of the picture mentions fewer things that are not "
    "there than sampling after the same description."
)
REFUTED = "the description in the prompt does as well by itself"
SHARE = effects.convention("share")


def run(lab: Lab) -> Iterator[Result]:
    arms = {
        "VDGD": "vdgd",
        "description alone": "vdgd,contrast=0",
        "no description": "plain",
        "divided": "vdgd,divided=true",
    }
    options = {"do_sample": True, "max_new_tokens": 24, "description_tokens": 32}
    sharp = {name: {"temperature": 0.5, "top_p": 0.5} for name in ("description alone", "no description")}
    captions = Replies(lab, arms, "chair", options, sharp)
    answers = Replies(
        lab,
        {k: v for k, v in arms.items() if k != "divided"},
        "answers",
        options,
        sharp,
        task_options={"kinds": ["choose colour", "choose relation", "comparison"], "options": True},
    )
    lab.note(
        "All arms sample at temperature 0.5 from the nucleus of 0.5. The divided one takes the released code's",
        "divergence, which is divided by the number of tokens.",
        captions.sentence("instances"),
        captions.sentence("recall"),
        captions.sentence("words"),
        answers.sentence("accuracy"),
    )
    yield from decides(
        below(captions["VDGD", "instances"] - captions["description alone", "instances"], **SHARE),
    )
    yield from secondary(
        below(captions["VDGD", "instances"] - captions["no description", "instances"]),
        above(captions["divided", "instances"] - captions["description alone", "instances"]),
        above(answers["VDGD", "accuracy"] - answers["description alone", "accuracy"], -0.02),
    )
