"""The baseline of new words: the words that they begin as, without learning."""

from __future__ import annotations

from typing import ClassVar

from ._personal import Personal


class Kind(Personal):
    """New words that stay what they begin as, those of ``like``: the kind of the subject. A run of it takes no step.

    See `Personal` for options.
    """

    closed: ClassVar[bool] = True
