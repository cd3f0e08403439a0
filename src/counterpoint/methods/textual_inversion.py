"""Textual Inversion: a painter learns the vectors of new words, and nothing else."""

from __future__ import annotations

from ._personal import Personal


class TextualInversion(Personal):
    """Vectors of new words, by the painter's own loss; see `Personal` for options.

    Source: Gal et al., "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion"
    (2022), arXiv 2208.01618.
    """
