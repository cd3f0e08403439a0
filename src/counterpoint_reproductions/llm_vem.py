"""LLM-VEM: do sentences about pictures, in training alone, make simulated voxels more predictable?"""

from __future__ import annotations

from collections.abc import Iterator

from counterpoint.study.presets import StudyPreset

from .lab import UNSEEN, Arrays, Lab, Result, above, below, decides, effects, secondary
from .lab.data_voxels import SENTENCES, predicted

CLAIM = (
    "A small contrast with frozen embeddings of captions makes simulated voxels that read what a picture shows (late "
    "ones) more predictable than regression alone and than the contrast with other pictures' captions, and gives them "
    "more than voxels that read edges and colours (early ones)."
)
REFUTED = "late voxels gain nothing, shuffled captions help as much, or early voxels gain as much"
CORRELATION = effects.convention("correlation")
_TOWERS = f"text={SENTENCES}"
PRESET = StudyPreset(
    "llm-vem",
    "pictures with texts and a table of voxels (voxels:SOURCE makes them): regression alone, and with a small contrast "
    "to embeddings of the texts, by what a probe reads from pictures' features; no task asks for the voxels themselves",
    {"arms": (f"llm-vem,weight=0,{_TOWERS}", f"llm-vem,{_TOWERS}")},
    f"llm-vem,weight=0,{_TOWERS}",
    {"probe": ("logistic_*_top1",)},
)

STEPS, TRAINED = 400, 300
WEIGHTS = (0.0, 0.01, 0.1, 1.0)
SMALL = 0.1


def read_voxels(arm: str, weight: float, seed: int, trained: int, steps: int) -> Arrays:
    """Train with one λ, with the captions of the pictures or with those of others."""
    return predicted(weight, arm == "shuffled", seed, trained, steps)


def run(lab: Lab) -> Iterator[Result]:
    axes = {"arm": ("own", "shuffled"), "weight": WEIGHTS}
    runs = lab.grid(read_voxels, axes, seeds=UNSEEN, trained=TRAINED, steps=STEPS)
    metric = "Pearson's r as a share of the ceiling, simulated voxels"
    late, early = (runs.scores(kind, f"{metric}, {kind}") for kind in ("late", "early"))
    yield from decides(
        above(late["own", SMALL] - late["own", 0.0], **CORRELATION),
        above(late["own", SMALL] - late["shuffled", SMALL], **CORRELATION),
        above(
            (late["own", SMALL] - late["own", 0.0]) - (early["own", SMALL] - early["own", 0.0]),
            name="gain of late voxels − gain of early ones, weight 0.1",
            **CORRELATION,
        ),
    )
    yield from secondary(
        below(early["own", SMALL] - early["own", 0.0]),
        *(above(late["own", weight] - late["own", 0.0]) for weight in WEIGHTS[1:] if weight != SMALL),
        *(below(early["own", weight] - early["own", 0.0]) for weight in WEIGHTS[1:] if weight != SMALL),
        below(late["shuffled", SMALL] - late["shuffled", 0.0]),
    )
    lab.note(
        f"Simulated voxels, no brain's: 40 early and 40 late ones over {TRAINED:,} of scikit-learn's digits; the test",
        "has 597 others; late ones read digit, stroke and lean, which the captions say. A perceptron on pixels;",
        f"sentences embedded by all-MiniLM-L6-v2, {STEPS} steps of batch 64, a tenth of them with a still encoder.",
        f"Late voxels by captions and λ: {late.means()}; early ones: {early.means()}.",
    )
