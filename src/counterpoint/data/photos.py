"""A user's own pictures without captions."""

from __future__ import annotations

from typing import ClassVar

from .stored import Stored


class Photos(Stored):
    """Pictures without captions, in folders or in a table: to be embedded and searched, or trained on alone.

    A folder for each kind (``cat/1.jpg``) makes the label ``folder``, and columns of a table are labels; folders called
    after splits are splits, as for `Pairs`.
    """

    captioned: ClassVar[bool] = False
