"""LCD: contrasting with what the language model expects takes hallucinated things out of captions."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoint.networks.tiny_vlm import default_model_path

from .lab import Lab, Result, above, below, decides, effects, secondary
from .lab.decoding import Replies, weight

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, contrasting "
    "with what it expects without the picture lowers the share of mentioned things that are not there below "
    "what the plausibility rule does by itself."
)
REFUTED = "the rule alone mentions as few things that are not there"
SHARE = effects.convention("share")


def run(lab: Lab) -> Iterator[Result]:
    weights = lab.grid(weight, {}, seeds=None, arm="lcd", pictures=64, path=str(default_model_path()))
    alpha = round(float(weights[()][None]["alpha"].mean()), 2)
    arms = {
        "LCD": "lcd",
        "rule alone": "lcd,contrast=0",
        "fixed weight": f"lcd,by_entropy=false,alpha={alpha}",
        "plain": "plain",
    }
    captions = Replies(lab, arms, "chair")
    pope = Replies(
        lab, {k: arms[k] for k in ("LCD", "rule alone")}, "pope", {"do_sample": True, "max_new_tokens": 4}
    )
    lab.note(
        f"The fixed weight is the mean of LCD's own on validation captions, {alpha}. The text-only branch is the model",
        "without its picture, which it has read a tenth of its conversations without.",
        captions.sentence("instances"),
        captions.sentence("words"),
        captions.sentence("recall"),
        pope.sentence("f1"),
    )
    yield from decides(below(captions["LCD", "instances"] - captions["rule alone", "instances"], **SHARE))
    yield from secondary(
        below(captions["LCD", "sentences"] - captions["rule alone", "sentences"]),
        below(captions["LCD", "instances"] - captions["fixed weight", "instances"], 0.01),
        below(captions["LCD", "instances"] - captions["plain", "instances"]),
        above(captions["LCD", "recall"] - captions["rule alone", "recall"], -0.02),
        above(pope["LCD", "f1"] - pope["rule alone", "f1"], -0.01),
    )
