"""The columns that a method takes, stated once and checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..reasons import counted, listing
from ..registry import unknown


@dataclass(frozen=True)
class Needs:
    """The columns that a method takes of those that data has.

    >>> Needs().choose("clip", {"image": "image", "text": "text"})
    {'image': 'image', 'text': 'text'}
    >>> Needs(1, 1, prefers="text").choose("simcse", {"image": "image", "text": "text"})
    {'text': 'text'}
    >>> Needs(1, None, modalities=("image",), more="map").choose("multimae", {"depth": "map", "image": "image"})
    {'image': 'image', 'depth': 'map'}
    >>> Needs().choose("clip", {"image": "image"})
    Traceback (most recent call last):
    ...
    ValueError: clip takes 2 columns, and there is 1 (image)
    >>> Needs(paired=True, second="text").choose("conan", {"a": "text", "b": "image", "c": "image"})
    Traceback (most recent call last):
    ...
    ValueError: conan takes 2 columns, and there are 3 (a, b, c); write one of conan,columns=b+a, conan,columns=c+a

    Attributes:
        least, most: how many; as many as there are if ``most`` is None.
        modalities: of the columns, in this order; any if empty. Without ``most`` there may be more of the last one.
        more: the modality of the columns behind those of ``modalities`` in place of the last one, however many.
        also: modalities of columns that a user may name behind those of ``modalities``, in place of the last one; with
            + between them.
        prefers: the modality that a method of one column takes where the data has several; the first one unless given.
        only: the modality of every column, however many; any if empty. Columns of others are left aside.
        further: of the first two columns, those whose modalities the columns behind them may have; any if empty.
        paired: columns come in pairs, so that their number is even.
        second: the modality of the second column; any if empty.
    """

    least: int = 2
    most: int | None = 2
    modalities: tuple[str, ...] = ()
    more: str = ""
    also: str = ""
    prefers: str = ""
    only: str = ""
    further: tuple[int, ...] = ()
    paired: bool = False
    second: str = ""

    def choose(self, name: str, columns: Mapping[str, str], wanted: Sequence[str] = ()) -> dict[str, str]:
        """Return the columns that a method works on, each with its modality.

        Args:
            name: of the method, for messages.
            columns: those of the data, each with its modality.
            wanted: the columns that a user asks for, in their order; those that suit the method unless given. The name
                of a modality stands for its first column, where no column is called so.

        Raises:
            UnknownNameError: for a wanted column that the data does not have.
            ValueError: if the columns are not what the method takes; the message names what to write.
        """
        firsts = {modality: column for column, modality in reversed(list(columns.items()))}
        wanted = [column if column in columns else firsts.get(column, column) for column in wanted]
        for column in wanted:
            if column not in columns:
                raise unknown("column", column, columns)
        chosen = {column: columns[column] for column in wanted} or self._suited(columns)
        if self._fewer(len(chosen)) and not (wanted or self.modalities):
            written = ", ".join(f"{name},columns={'+'.join(part)}" for part in self._parts(chosen))
            advice = f"; write one of {written}" if written else ""
            raise ValueError(
                f"{name} takes {self._count()}, and there are {len(chosen)} ({', '.join(chosen)}){advice}"
            )
        self.check(name, chosen)
        return chosen

    def check(self, name: str, columns: Mapping[str, str]) -> None:
        """Refuse columns that a method does not take.

        Raises:
            ValueError: naming the method and what it takes.
        """
        of, count = (*columns.values(),), len(self.modalities)
        last = self.modalities[-1] if self.modalities and self.most is None else ""
        behind = (self.also or self.more or last).split("+")
        if self.modalities and (of[:count] != self.modalities or {*of[count:]} - {*behind}):
            named = ", ".join(f"{column} ({modality})" for column, modality in columns.items())
            more = f" and any number of {self.more}" if self.more else ""
            raise ValueError(
                f"{name} takes a column of {' and one of '.join(self.modalities)}{more}, and is given "
                f"{named or 'none'}"
            )
        if others := [column for column, modality in columns.items() if self.only not in ("", modality)]:
            raise ValueError(f"{name} takes columns of {self.only} alone, and is given {', '.join(others)}")
        may = [list(columns.values())[k] for k in self.further] if len(columns) > 2 else []
        if may and (others := [column for column in list(columns)[2:] if columns[column] not in may]):
            raise ValueError(
                f"{name} takes columns of {' or '.join(may)} behind {' and '.join(list(columns)[:2])}, and is given "
                f"{', '.join(others)}: name the pair first, {name},columns=FIRST+SECOND+FURTHER"
            )
        listed = f"({', '.join(columns) or 'none'})"
        if len(columns) < self.least or self._fewer(len(columns)):
            are = "is" if len(columns) == 1 else "are"
            raise ValueError(f"{name} takes {self._count()}, and there {are} {len(columns)} {listed}")
        if self.second and (modality := list(columns.values())[1]) != self.second:
            raise ValueError(
                f"{name} takes a column of {self.second} second, and {list(columns)[1]} is of {modality}: write "
                f"{name},columns=FIRST+{self.second.upper()}"
            )

    def _fewer(self, count: int) -> int:
        """Return how many of so many columns the method can take, where it does not take all; 0 where it does."""
        most = count if self.most is None else min(self.most, count)
        most -= most % 2 if self.paired else 0
        return most if most < count else 0

    def _parts(self, columns: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Return the parts of some columns that the method takes, each in the order in which it takes them."""
        parts = list(combinations(columns, self._fewer(len(columns))))
        if not self.second:
            return parts
        either = [[(a, b, *others), (b, a, *others)] for a, b, *others in parts]
        suited = [[order for order in orders if columns[order[1]] == self.second] for orders in either]
        return [orders[0] for orders in suited if orders]

    def _suited(self, columns: Mapping[str, str]) -> dict[str, str]:
        if self.modalities:
            left, suited = dict(columns), {}
            for modality in self.modalities:
                column = next((name for name, of in left.items() if of == modality), None)
                if column is None:
                    return dict(columns)  # which `check` refuses, naming them all
                suited[column] = left.pop(column)
            behind = {column: modality for column, modality in left.items() if modality == self.more}
            return suited | behind
        if self.only:
            return {column: modality for column, modality in columns.items() if modality == self.only}
        if self.most == 1:
            order = sorted(columns, key=lambda column: columns[column] != self.prefers)
            return {column: columns[column] for column in order[:1]}
        return dict(columns)

    def _count(self) -> str:
        if self.most == self.least:
            return counted(self.least, "column")
        if self.paired and self.most is not None:
            return f"{listing(list(map(str, range(self.least, self.most + 1, 2))), 'or')} columns"
        return f"{self.least} {'or more' if self.most is None else f'to {self.most}'} columns"


def columns_asked(arm: str, options: dict[str, str]) -> tuple[str, ...]:
    """Take the columns that an arm asks for out of its options.

    They are ``columns=a+b``, ``on=images``, ``on=COLUMN``, or ``worse=a+b``, which is ``columns=image+talk+a+b``.
    """
    on, stated, worse = options.pop("on", None), options.pop("columns", None), options.pop("worse", None)
    if worse is not None:
        if stated is not None or on is not None:
            raise ValueError(
                f"arm {arm!r}: worse={worse} names columns, and so does another option; leave one out"
            )
        return ("image", "talk", *worse.split("+"))
    if on is not None and stated is not None:
        raise ValueError(f"arm {arm!r}: on={on} and columns={stated} say the same thing; leave one out")
    if on == "pairs":
        return ()
    words = {"images": "image", "texts": "text"}
    columns = (stated or on or "").split("+")
    return tuple(words.get(column, column) for column in columns if column)
