"""The order of the examination, and how it is carried out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator

from . import embeddings, network, patches, predictions, reranking, words
from .patch_features import patch_features
from .subject import DiagnosticSection, Subject

SECTIONS: dict[str, tuple[str, Callable[[Subject], DiagnosticSection]]] = {
    "spread": ("Alignment, uniformity, tolerance", embeddings.spread),
    "rank": ("Directions in use", embeddings.rank),
    "classes": ("Means of classes", embeddings.classes),
    "gap": ("The gap between the columns", embeddings.gap),
    "hardness": ("Which negatives are pushed", embeddings.hard_negatives),
    "inversion": ("Within a modality or across", embeddings.inversion),
    "augmentation": ("Concentration under augmentation", embeddings.views),
    "dense": ("Alignment and uniformity of patches", network.dense_features),
    "places": ("What patches say", patch_features),
    "masked": ("What is hidden", predictions.masked),
    "segmenter": ("Classes of pixels", predictions.segmenter),
    "words": ("What words rest on", words.word_maps),
    "captions": ("Captions", words.captions),
    "reranked": ("What re-ranking changes", reranking.reranked),
    "fourier": ("Frequencies by depth", network.frequencies),
    "attention": ("How far heads look", network.attention_distance),
    "offsets": ("Heads that look aside", network.offset_heads),
    "looks": ("What heads look at", patches.what_heads_look_at),
    "saliency": ("Attention and objects", patches.saliency),
    "objects": ("Objects and their parts", patches.objects),
    "points": ("The same points in two pictures", patches.points),
    "neighbours": ("Nearest neighbours by block", network.neighbours),
    "cka": ("Layers that agree", network.layers),
    "skips": ("What steps add", network.skips),
    "ablations": ("What each step is worth", network.ablation_study),
    "hessian": ("Curvature of the loss", network.curvature),
    "landscape": ("The loss around the weights", network.terrain),
}
"""A diagnostic's name to its title and what carries it out."""

COSTS: dict[str, float] = {
    "spread": 1.0,
    "classes": 1.6,
    "reranked": 4.0,
    "inversion": 12.0,
    "hessian": 17.0,
    "landscape": 11.0,
}
"""CPU time of diagnostics in units of the first one, which embeds the test rows; of the others 0.3.

Measured with the default towers on the test rows of ``emoji``. A forecast needs no more than the order of magnitude.
"""

OF_PLACES = ("places", "masked", "segmenter")
"""Diagnostics that draw what is said of the places of pictures."""

OF_WORDS = ("words", "captions", "reranked")
"""Diagnostics that draw what is said of the words of texts."""

SLOW = frozenset({"inversion", "hessian", "landscape"})
"""Diagnostics that take gradients many times. Together they cost four fifths of all."""


def cost(name: str) -> float:
    """Return the CPU time of a diagnostic in units of the first one."""
    return COSTS.get(name, 0.3)


def diagnose(
    subject: Subject, slow: bool = False, names: Collection[str] = SECTIONS
) -> Iterator[DiagnosticSection]:
    """Carry out the diagnostics, one after the other.

    A diagnostic that does not apply (attention of convolutions, a gap between modalities of a model with one) is a
    section that says why.

    Args:
        subject: the model and the data.
        slow: carry out those of `SLOW` too.
        names: of the diagnostics; all unless given.
    """
    for name, (title, examine) in SECTIONS.items():
        if name not in names:
            continue
        if name in SLOW and not slow:
            yield DiagnosticSection(name, title, "Not measured: slow, ask with --what all.", {}, None)
            continue
        try:
            section = examine(subject)
            yield dataclasses.replace(section, sentence=_typeset(section.sentence))
        # What some tower cannot do must not cost the other sections.
        except (ValueError, RuntimeError, LookupError) as error:
            yield DiagnosticSection(name, title, f"Not measured: {error}.", {}, None)


def _typeset(sentence: str) -> str:
    """Set minus signs and spaces before percent signs, as in the other reports.

    >>> _typeset("-0.5 and 12%")
    '−0.5 and 12 %'
    """
    return re.sub(r"(?<=\d)%", " %", re.sub(r"-(?=\d)", "−", sentence))
