"""SimCSE: the same sentence under two dropout masks is all the augmentation that sentence embeddings need."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoint.study.presets import StudyPreset

from .lab import Lab, Result, above, below, decides, effects, glosses, secondary

CLAIM = (
    "Contrast between two passes under independent dropout masks ranks pairs of glosses better than the "
    "pretrained encoder and than the same without dropout."
)
REFUTED = "no dropout is as good, or the ranking is no better than before"
RANKING = effects.convention(
    "correlation", reason="the gain of 4.2 points is over earlier methods, not over the encoder or no dropout"
)
PRESET = StudyPreset(
    "simcse",
    "texts alone: two passes under hardly any dropout, under the usual one, and under more",
    {"arms": ("simcse,on=texts,dropout=0.01", "simcse,on=texts", "simcse,on=texts,dropout=0.3")},
    "simcse,on=texts,dropout=0.01",
    {"probe": ("logistic_*_top1",)},
)

BEFORE, NO_DROPOUT, DROPOUT = "before", "no dropout", "dropout"
ARMS = {
    BEFORE: "simcse,on=first,tune=none",
    NO_DROPOUT: "simcse,on=first,dropout=0",
    DROPOUT: "simcse,on=first,dropout=0.1",
}
"""Each goes on from the pretrained run of its seed. The first leaves its tower as it is."""


def run(lab: Lab) -> Iterator[Result]:
    study = glosses.went_on(lab, ARMS)
    ranked = study.scores(glosses.RANKED)
    spread, rank = (study.diagnostics(f"{name}_first") for name in ("uniformity", "effective_rank"))
    yield from decides(
        *(
            above(ranked[DROPOUT] - ranked[other], name=f"1: dropout − {other}", **RANKING)
            for other in (BEFORE, NO_DROPOUT)
        ),
    )
    # The loss contains the uniformity of its views, so that training lowers it and spreads embeddings.
    yield from secondary(
        below(spread[DROPOUT] - spread[BEFORE], name="1: uniformity (lower is better), dropout − before"),
        above(rank[DROPOUT] - rank[BEFORE], name="3: effective rank, dropout − before"),
        above(ranked[NO_DROPOUT] - ranked[BEFORE], name="1: no dropout − before"),
        below(spread[DROPOUT] - spread[NO_DROPOUT], name="1: uniformity, dropout − no dropout"),
    )
    lab.note(
        glosses.NOTE,
        "The method is the registered simcse; 'before' is the run that all go on from. A run of it, and one without",
        "dropout, under seed 1000, which is not tested, had 0.37 and 0.38: neither is at chance or",
        f"perfect. Spearman's coefficients: {ranked.means()}; uniformity: {spread.means()}; effective rank:",
        f"{rank.means(1)}, in place of the share of the largest singular value, which no diagnostic has. The first",
        "evidence had an encoder, training and pretraining (to name a missing word) of its own. One mask for both",
        "passes and deletion of words are not compared any more; next sentences as positives were not tried, nor were",
        "hard negatives (2).",
    )
