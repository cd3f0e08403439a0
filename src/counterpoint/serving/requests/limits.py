"""The limits of what a request may ask for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, Positive, several, unique

Format = Literal["jpeg", "png", "webp", "gif"]


@form(frozen=True, config=FORM)
class Limits:
    """Bounds of what a request may ask for; one that asks for more is refused.

    >>> Limits(inputs=8).inputs, Limits().body
    (8, 10000000)
    """

    body: Count = 10_000_000
    """Bytes of a request."""
    pixels: Count = 50_000_000
    """Pixels of a picture, by its header."""
    formats: Annotated[tuple[Format, ...], BeforeValidator(several), AfterValidator(unique)] = (
        "jpeg",
        "png",
        "webp",
        "gif",
    )
    """Formats of pictures that are read."""
    inputs: Count = 256
    """Texts and pictures of a request, the labels of zero-shot among them."""
    characters: Count = 100_000
    """Characters of all texts of a request."""
    results: Count = 1_000
    """Results of a search."""
    seconds: Positive = 30.0
    """Seconds for a request to come in and be answered."""
    queue: Count = 256
    """Requests in hand, at most; a further one gets 503, and is to come again."""
    batch: Count = 64
    """Texts or pictures that are embedded together."""
