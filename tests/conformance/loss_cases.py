"""For every registered objective: how to build it, what to feed it, and its card's formula as plain loops.

The loops work on single numbers, in float64, and know nothing of the library. A file per family.
"""

from __future__ import annotations

import cases_classes
import cases_first
import cases_kernels
import cases_pairs
import cases_pictures
import cases_queues
import cases_sequences
import cases_targets
import cases_views
import cases_weighted

CASES = (
    *cases_classes.CASES,
    *cases_first.CASES,
    *cases_kernels.CASES,
    *cases_pairs.CASES,
    *cases_targets.CASES,
    *cases_queues.CASES,
    *cases_pictures.CASES,
    *cases_sequences.CASES,
    *cases_views.CASES,
    *cases_weighted.CASES,
)
