"""The part of a command that says how the user's own files are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, overload

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, BelowOne, Count, Names


@form(frozen=True, config=FORM)
class FileOptions:
    """Options of data that are files."""

    missing: Names = ()
    """Values to withhold, by the ids of items alone: COLUMN:SHARE, for example text:0.4, or A+B:SHARE, of either one;
    with when=LABEL:CLASS of one class alone, with in=train, in=test or in=reversed (in test of the other classes)
    there: table:0.4,when=sepsis."""
    columns: Names = ()
    """Columns of a table: by what they are for (image=path text=alt+title table=age+sex series=ecg id=uid group=product
    split=fold), or by their own names, each a column of the data (question answer)."""
    cache_size: str = ""
    """Most that local copies of shards may take, and as much again decoded pictures; 50GB unless given."""

    captions: str = ""
    """A folder's captions from names: path, name or folder; with a sentence, "name:a photo of {}"."""
    allow_outside: bool = False
    """Read files that paths in a table name outside its folder."""
    broken: BelowOne | None = None
    """Share of the examples that may be left out, for whatever reason, in place of 0.01."""
    group: Literal["looks", "folder", "none"] | None = None
    """With none, pictures that look alike may lie in several splits, and none is hashed for it; with folder, those of a
    folder stay together, so that whole classes are held out."""
    held_out: Count | None = None
    """The most rows of validation and of test, each, where splits are made here; 5,000 unless given."""
    max_pixels: Count | None = None
    """Read no picture of more pixels, whatever its file's size; 100,000,000 unless given."""
    numbers: Names = ()
    """Labels that are numbers though all of them are whole, an age in years for example, and no classes."""
    least: Count | None = None
    """Examples that a class or a tag of a label needs; rarer ones are left out. 2 of a class and 5 of a tag unless
    given."""

    @overload
    def of(self, data: str) -> str: ...
    @overload
    def of(self, data: None) -> None: ...
    @overload
    def of(self, data: str | None) -> str | None: ...
    def of(self, data: str | None) -> str | None:
        """Return the name of data with these options, as a run keeps it; the size of caches is set for all processes.

        Raises:
            ValueError: for options without data, columns or captions that cannot be, or no size.
        """
        if self.cache_size:
            from ...data.cache import SIZE, size_of

            size_of(self.cache_size)
            os.environ[SIZE] = self.cache_size
        treated = {
            "captions": self.captions or None,
            "outside": "yes" if self.allow_outside else None,
            "broken": self.broken,
            "group": self.group,
            "held-out": self.held_out,
            "max-pixels": self.max_pixels,
            "numbers": "+".join(self.numbers) or None,
            "least": self.least,
        }
        if "," in self.captions:
            raise ValueError(f"--captions {self.captions!r}: the sentence cannot hold a comma")
        if taken := next((name for name in self.numbers if {*name} & {*",+"}), None):
            raise ValueError(
                f"--numbers {taken!r}: a name with a + or a comma cannot be written here: rename it"
            )
        suffix = "".join(f",{name}={value}" for name, value in treated.items() if value is not None)
        if not (self.columns or suffix or self.missing):
            return data
        if data is None:
            options = {"--missing": self.missing, "--columns": self.columns}
            option = next(
                (name for name, value in options.items() if value), f"--{suffix[1:].partition('=')[0]}"
            )
            option = "--allow-outside" if option == "--outside" else option
            raise ValueError(f"{option} says how files are read: give it with --data")
        from ...data.derived.gaps import with_gaps
        from ...data.derived.mixture import each_changed
        from ...data.sources import columns_of, with_columns

        named = with_columns(data, columns_of(self.columns)) + suffix
        return each_changed(named, lambda one: with_gaps(one, self.missing))


def guesses(findings: Mapping[str, str]) -> list[str]:
    """Return what was guessed of the data, as lines."""
    return [f"{title}: {line}" for title, line in findings.items() if title.startswith("guessed")]
