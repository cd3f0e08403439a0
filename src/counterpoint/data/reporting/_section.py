"""The form of a section: a file of the room `sections` holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

from ._seen import DataOverview


@final
@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        name: the thing that is told of.
        text: for people.
        value: for programs; as JSON can hold it.
        examples: the first of them.
        warning: something to look at before training.
    """

    name: str
    text: str
    value: Any
    examples: tuple[str, ...] = ()
    warning: bool = False


@dataclass
class Findings:
    """A list of findings that grows.

    Args:
        seen: of which shares are told.
    """

    seen: DataOverview
    listed: list[Finding] = field(default_factory=list)

    def add(
        self, name: str, text: str, value: Any, examples: Sequence[str] = (), warning: bool = False
    ) -> None:
        """Add any finding."""
        self.listed.append(Finding(name, text, value, tuple(examples), warning))

    def count(
        self,
        name: str,
        count: int,
        of: int,
        examples: Sequence[str] = (),
        *,
        above: float | None = None,
        sampled: bool = False,
    ) -> None:
        """Add how many of something there are, and nothing where there are none.

        Args:
            name: of them.
            count: how many.
            of: among how many.
            examples: the first of them.
            above: a share beyond which they are a warning; never unless given.
            sampled: those that were looked at are a sample, so that the share has an interval.
        """
        if count:
            share = Share(count, of, sampled or self.seen.part)
            warns = above is not None and count / of > above
            self.listed.append(Finding(name, str(share), share.plain(), tuple(examples), warns))


@final
@dataclass(frozen=True)
class Share:
    """A number of things among others; of a sample with Wilson's interval of 95 %.

    >>> print(Share(12, 951), Share(3, 100, sampled=True), sep="; ")
    12 (1.3 %); 3 of 100 looked at: 3 % (1 to 8.5 %)
    """

    count: int
    of: int
    sampled: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """The least and the greatest share of all that the sample is in keeping with."""
        from scipy.stats import binomtest

        bounds = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)

    def plain(self) -> dict[str, float]:
        """Return it as JSON can hold it."""
        held: dict[str, float] = {"count": self.count, "of": self.of}
        if self.sampled:
            held |= dict(zip(("low", "high"), self.interval, strict=True))
        return held

    def __str__(self) -> str:
        if not self.sampled:
            return f"{self.count:,} ({percent(self.count / self.of)} %)"
        low, high = self.interval
        return (
            f"{self.count:,} of {self.of:,} looked at: {percent(self.count / self.of)} % "
            f"({percent(low)} to {percent(high)} %)"
        )


def percent(share: float) -> str:
    """Write a share in hundredths; one that is nearly nothing or nearly all keeps what it lacks.

    >>> percent(0.0004), percent(0.5), percent(0.123), percent(0.9968), percent(1.0)
    ('0.04', '50', '12', '99.7', '100')
    """
    if share < 0.1:
        return f"{100 * share:.2g}"
    return f"{100 * share:.0f}" if share < 0.99 or share == 1 else f"{100 * share:.1f}"


class ReportSection(ABC):
    """A part of a report.

    Attributes:
        order: sections come in the order of these numbers.
        title: that stands above it.
    """

    order: ClassVar[int]
    title: ClassVar[str]

    @abstractmethod
    def findings(self, seen: DataOverview) -> list[Finding]:
        """Return what there is to tell; nothing where the data has no such thing."""
