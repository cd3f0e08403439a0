"""Gaps as a user writes them: what is withheld of any data, for every item by its id alone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from jaxtyping import Bool, Int

from ...registry import unknown
from ...spec import Spec
from ..views.keys import key, uniform

Where = Literal["everywhere", "train", "test", "reversed"]


@dataclass(frozen=True)
class Gap:
    """One column's values withheld from some items, or one value of each from among several columns.

    >>> str(Gap.parse("table:0.4,when=sepsis,in=reversed"))
    'table:0.4,when=sepsis,in=reversed'
    >>> Gap.parse("image+text:0.7").columns
    ('image', 'text')

    Attributes:
        column: whose values are withheld; of ``A+B``, either column's, each as often.
        share: of the items that it may be withheld from.
        when: a label: only from items of one of its classes; from items of any class if empty.
        of: the class; of a label with two classes the second one, if empty.
        where: everywhere, in training (and validation) alone, in test alone; ``reversed``: in test from items of the
            other classes.
    """

    column: str
    share: float
    when: str = ""
    of: str = ""
    where: Where = "everywhere"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a gap as it is written: ``COLUMN:SHARE``, then ``when=LABEL`` or ``when=LABEL:CLASS``, ``in=WHERE``.

        ``A+B`` in place of the column stands for one of several.

        Raises:
            ValueError: for what cannot be read, or contradicts itself; the message says how gaps are written.
        """
        spec = Spec.parse(text)
        column, _, number = spec.name.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not column or not 0 < share <= 1:
            raise ValueError(
                f"--missing {text}: write COLUMN:SHARE, the share above 0 and at most 1, for example text:0.4"
            )
        for name in spec.options:
            if name not in ("when", "in"):
                raise ValueError(f"--missing {text}: after COLUMN:SHARE comes when=LABEL:CLASS or in=WHERE")
        when, _, of = spec.options.get("when", "").partition(":")
        where: Any = spec.options.get("in", "everywhere")
        if where not in get_args(Where):
            raise unknown("place of gaps", where, get_args(Where))
        if where == "reversed" and not when:
            raise ValueError(
                f"--missing {text}: gaps are reversed from one class to the others: say when=LABEL"
            )
        return cls(column, share, when, of, where)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, of which an item loses one."""
        return tuple(self.column.split("+"))

    def __str__(self) -> str:
        when = f",when={self.when}{':' * bool(self.of)}{self.of}" if self.when else ""
        return f"{self.column}:{self.share:g}{when}" + (
            f",in={self.where}" if self.where != "everywhere" else ""
        )

    def withheld(
        self,
        column: str,
        ids: Int[np.ndarray, " n"],
        in_test: Bool[np.ndarray, " n"],
        classes: Int[np.ndarray, " n"] | None,
        chosen: int,
    ) -> Bool[np.ndarray, " n"]:
        """Return from which items the value of a column is withheld.

        Args:
            column: one of `columns`.
            ids: of the items.
            in_test: those of a test set.
            classes: of the label, −1 where an item has none; None for gaps in all classes.
            chosen: the class that lacks values.
        """
        keys = key(0, 0, ids, f"missing {self.column}")
        gone = uniform(keys, "gap")[:, 0] < self.share
        if len(self.columns) > 1:
            which = (uniform(keys, "column")[:, 0] * len(self.columns)).astype(np.int64)
            gone &= which == self.columns.index(column)
        if self.where in ("train", "test"):
            gone &= in_test == (self.where == "test")
        if classes is not None:
            of_class = classes == chosen
            if self.where == "reversed":
                of_class = np.where(in_test, (classes >= 0) & ~of_class, of_class)
            gone &= of_class
        return gone

    def class_of(self, classes: Mapping[str, Sequence[str]]) -> int:
        """Return the number of the class that lacks values, of the classes of every label.

        Raises:
            UnknownNameError: for a label or a class that there is not.
            ValueError: for a label of more than two classes of which none is named.
        """
        if self.when not in classes:
            raise unknown("label", self.when, classes)
        names = classes[self.when]
        if self.of and self.of not in names:
            raise unknown(f"class of {self.when}", self.of, names)
        if not self.of and len(names) != 2:
            raise ValueError(
                f"--missing {self}: {self.when} has {len(names)} classes; say of which, for example "
                f"when={self.when}:{names[-1] if names else 'CLASS'}"
            )
        return names.index(self.of) if self.of else 1


def with_gaps(source: str, gaps: Sequence[str]) -> str:
    """Return the name of data from which values are withheld.

    >>> with_gaps("pairs.csv", ["text:0.4,when=group:birds", "image:0.1"])
    'pairs.csv,missing=text:0.4/when:group:birds+image:0.1'

    Raises:
        ValueError: for a gap that cannot be read, or a name in it that cannot be written as an option.
    """
    parsed = [Gap.parse(gap) for gap in gaps]
    for gap in parsed:
        if set("/,") & set(gap.column) or set("/+,") & set(gap.when + gap.of) or "" in gap.columns:
            raise ValueError(
                f"--missing {gap}: a name with a /, a + or a comma cannot be written here: rename it in the data"
            )
    option = "+".join(str(gap).replace(",", "/").replace("=", ":") for gap in parsed)
    return f"{source},missing={option}" if option else source


def gaps_of(source: str) -> tuple[str, tuple[Gap, ...]]:
    """Return the name of data without what is withheld from it, and that; a file that is called so is a file.

    >>> gaps_of("pairs.csv,missing=text:0.4/in:test")
    ('pairs.csv', (Gap(column='text', share=0.4, when='', of='', where='test'),))
    """
    named = re.search(r",missing=([^,]*)", source)
    if named is None or os.path.exists(source):
        return source, ()
    written: list[str] = []
    for part in named[1].split("+"):
        # A + joins the columns of one gap before the colon of its share, and gaps behind it.
        if written and ":" not in written[-1]:
            written[-1] += f"+{part}"
        else:
            written.append(part)
    gaps = tuple(Gap.parse(re.sub(r"/(when|in):", r",\1=", part)) for part in written)
    return source[: named.start()] + source[named.end() :], gaps
