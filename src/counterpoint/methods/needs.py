"""The columns that a method takes, stated once and checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..reasons import counted
from ..registry import unknown


@dataclass(frozen=True)
class Needs:
    """The columns that a method takes of those that data has.

    >>> Needs().choose("clip", {"image": "image", "text": "text"})
    {'image': 'image', 'text': 'text'}
    >>> Needs(1, 1, prefers="text").choose("simcse", {"image": "image", "text": "text"})
    {'text': 'text'}
    >>> Needs().choose("clip", {"image": "image"})
    Traceback (most recent call last):
    ...
    ValueError: clip takes 2 columns, and there is 1 (image)

    Attributes:
        least, most: how many; as many as there are if ``most`` is None.
        modalities: of the columns, in this order; any if empty.
        prefers: the modality that a method of one column takes where the data has several; the first one unless given.
        only: the modality of every column, however many; any if empty. Columns of others are left aside.
        further: of the first two columns, those whose modalities the columns behind them may have; any if empty.
    """

    least: int = 2
    most: int | None = 2
    modalities: tuple[str, ...] = ()
    prefers: str = ""
    only: str = ""
    further: tuple[int, ...] = ()

    def choose(self, name: str, columns: Mapping[str, str], wanted: Sequence[str] = ()) -> dict[str, str]:
        """Return the columns that a method works on, each with its modality.

        Args:
            name: of the method, for messages.
            columns: those of the data, each with its modality.
            wanted: the columns that a user asks for, in their order; those that suit the method unless given. The name
                of a modality stands for its first column, where no column is called so.

        Raises:
            UnknownName: for a wanted column that the data does not have.
            ValueError: if the columns are not what the method takes; the message names what to write.
        """
        firsts = {modality: column for column, modality in reversed(list(columns.items()))}
        wanted = [column if column in columns else firsts.get(column, column) for column in wanted]
        for column in wanted:
            if column not in columns:
                raise unknown("column", column, columns)
        chosen = {column: columns[column] for column in wanted} or self._suited(columns)
        if self.most is not None and len(chosen) > self.most and not (wanted or self.modalities):
            pairs = ", ".join(f"{name},columns={'+'.join(part)}" for part in combinations(chosen, self.most))
            raise ValueError(
                f"{name} takes {self._count()}, and there are {len(chosen)} ({', '.join(chosen)}); write one of {pairs}"
            )
        self.check(name, chosen)
        return chosen

    def check(self, name: str, columns: Mapping[str, str]) -> None:
        """Refuse columns that a method does not take.

        Raises:
            ValueError: naming the method and what it takes.
        """
        if self.modalities and tuple(columns.values()) != self.modalities:
            named = ", ".join(f"{column} ({modality})" for column, modality in columns.items())
            raise ValueError(
                f"{name} takes a column of {' and one of '.join(self.modalities)}, and is given {named or 'none'}"
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
        if len(columns) < self.least or (self.most is not None and len(columns) > self.most):
            are = "is" if len(columns) == 1 else "are"
            raise ValueError(f"{name} takes {self._count()}, and there {are} {len(columns)} {listed}")

    def _suited(self, columns: Mapping[str, str]) -> dict[str, str]:
        if self.modalities:
            # Backwards, so that of several columns of a modality the first one stays.
            firsts = {modality: column for column, modality in reversed(list(columns.items()))}
            if not set(self.modalities) <= set(firsts):
                return dict(columns)  # which `check` refuses, naming them all
            return {firsts[modality]: modality for modality in self.modalities}
        if self.only:
            return {column: modality for column, modality in columns.items() if modality == self.only}
        if self.most == 1:
            order = sorted(columns, key=lambda column: columns[column] != self.prefers)
            return {column: columns[column] for column in order[:1]}
        return dict(columns)

    def _count(self) -> str:
        if self.most == self.least:
            return counted(self.least, "column")
        return f"{self.least} {'or more' if self.most is None else f'to {self.most}'} columns"
