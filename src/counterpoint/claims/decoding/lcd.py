"""LCD: contrasting with what the language model expects takes hallucinated things out of captions."""

from __future__ import annotations

from collections.abc import Sequence

from ...catalog.evidence import Result
from ...networks.tiny_vlm import default_model_path
from ..benches.decoding import Replies, weight
from ..lab.lab import Lab

CLAIM = (
    "On bad pictures of scenes that break the pairs a small vision-language model was trained on, contrasting "
    "with what it expects without the picture lowers the share of mentioned things that are not there below "
    "what the plausibility rule does by itself."
)
REFUTED = "the rule alone mentions as few things that are not there"


def run(lab: Lab) -> Sequence[Result]:
    settings = {"arm": "lcd", "pictures": 8 if lab.quick else 64, "path": str(default_model_path())}
    alpha = round(float(lab.cells(weight, {"weight": settings})["weight"]["alpha"].mean()), 2)
    arms = {
        "LCD": "lcd",
        "rule alone": "lcd,contrast=0",
        "fixed weight": f"lcd,by_entropy=false,alpha={alpha}",
        "plain": "plain",
    }
    captions = Replies(lab, arms, "chair")
    asked = Replies(
        lab, {k: arms[k] for k in ("LCD", "rule alone")}, "pope", {"do_sample": True, "max_new_tokens": 4}
    )
    lab.note(
        f"The fixed weight is the mean of LCD's own on validation captions, {alpha}. The text-only branch is the model",
        "without its picture, which it has read a tenth of its conversations without.",
        captions.said("instances"),
        captions.said("words"),
        captions.said("recall"),
        asked.said("f1"),
    )
    return [
        captions.difference("LCD", "rule alone", "instances", expected="below"),
        captions.difference("LCD", "rule alone", "sentences", expected="below", decides=False),
        captions.difference("LCD", "fixed weight", "instances", expected="below", bound=0.01, decides=False),
        captions.difference("LCD", "plain", "instances", expected="below", decides=False),
        captions.difference("LCD", "rule alone", "recall", expected="above", bound=-0.02, decides=False),
        asked.difference("LCD", "rule alone", "f1", expected="above", bound=-0.01, decides=False),
    ]
