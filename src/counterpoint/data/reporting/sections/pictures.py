"""Pictures as files: formats, sizes, shapes, transparency, turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import ClassVar, final

import numpy as np

from ...base import stored_size
from ...pictures.traits import Traits
from .._section import Finding, Findings, ReportSection, Share
from .._seen import DataOverview

_LONG = 2.0  # of a picture that is longer, the square in the middle is less than half
_DARK, _FLAT = 32, 4  # of 256 grey values
_FEW = 0.01  # of the pictures may be such ones without a warning


@final
class PicturesSection(ReportSection):
    """The formats and the sizes of the files, and what of them is lost in a square."""

    order: ClassVar[int] = 10
    title: ClassVar[str] = "pictures"

    def findings(self, seen: DataOverview) -> list[Finding]:
        looks = [(look.row, look.traits) for look in seen.pictures if look.traits is not None]
        if not looks:
            return []
        findings = Findings(seen)
        formats = dict(Counter(traits.format for _, traits in looks).most_common())
        line = ", ".join(f"{name} {Share(n, len(looks), seen.sampled)}" for name, n in formats.items())
        findings.add("formats", line, formats)

        def count(
            name: str, holds: Callable[[Traits], bool], among: list[tuple[int, Traits]], above: float = 1.0
        ) -> None:
            rows = [row for row, traits in among if holds(traits)]
            findings.count(name, len(rows), len(among), seen.named(rows), above=above, sampled=seen.sampled)

        sized = [(row, traits) for row, traits in looks if traits.width is not None]
        if sized:
            widths, heights = (np.array([getattr(t, name) for _, t in sized]) for name in ("width", "height"))
            shorter = np.minimum(widths, heights)
            middle = int(np.argsort(shorter, kind="stable")[len(shorter) // 2])
            findings.add(
                "pixels",
                f"{widths[middle]} × {heights[middle]} in the middle, "
                f"shorter side {shorter.min():,} to {shorter.max():,}",
                {
                    "width": _quantiles(widths),
                    "height": _quantiles(heights),
                },
            )
            ratios = widths / heights
            shapes = {
                "wide": int((ratios > 1.05).sum()),
                "tall": int((ratios < 1 / 1.05).sum()),
            }
            shapes["square"] = len(sized) - sum(shapes.values())
            line = ", ".join(f"{name} {n:,}" for name, n in shapes.items())
            findings.add("shapes", line, shapes)
            count(
                "longer than twice their height or width: a square in the middle shows less than half",
                lambda t: not 1 / _LONG <= _ratio(t) <= _LONG,
                sized,
                0.05,
            )
            side = stored_size(seen.towers.image_size)
            count(
                f"smaller than the {side} pixels that views of {seen.towers.image_size} are cut from",
                lambda t: min(t.width or 0, t.height or 0) < side,
                sized,
                0.05,
            )
        count("can be transparent: shown on white", lambda t: t.transparent, looks)
        count("held otherwise by the camera (EXIF): turned upright", lambda t: t.turned, looks)
        count(
            f"dark throughout, of the lowest {_DARK} of 256 values, as 12 bits in a file of 16 are: brighten them",
            lambda t: t.darkest + _FLAT <= t.brightest < _DARK,
            looks,
            _FEW,
        )
        count("of one colour throughout", lambda t: t.brightest < t.darkest + _FLAT, looks, _FEW)
        return findings.listed


def _ratio(traits: Traits) -> float:
    return (traits.width or 1) / (traits.height or 1)


def _quantiles(values: np.ndarray) -> dict[str, int]:
    shares = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}
    return {name: int(np.quantile(values, share, method="nearest")) for name, share in shares.items()}
