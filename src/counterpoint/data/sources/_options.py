"""The part of a data set's name that says how its files are read: ``pairs.parquet,columns=image:path+text:alt``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import PurePath
from typing import Any, Self, final

from PIL import Image

from ...modalities import MODALITIES
from ...registry import unknown
from ...spec import Spec
from ..derived.gaps import gaps_of, with_gaps
from ..derived.mixture import each_changed, parts_of
from ..pictures.decode import MOST_PIXELS
from ..replaced import MAX_BROKEN
from ..sides import MOST_HELD_OUT
from ..template import is_template, option_of, read_option
from ._files.locations import local

_PARTS = ("path", "name", "folder")
FACTS = ("id", "split", "group")
"""The values of a record, beside its columns, that a column of a table may be named for."""


@final
@dataclass(frozen=True)
class FilenameCaptions:
    """Captions from the names of files: ``captions=name:a photo of {}``.

    Attributes:
        part: the ``name`` of a file, that of its ``folder``, or its ``path`` from the folder that was given.
        template: the sentence, with ``{}`` for the words of the name.
    """

    part: str
    template: str = "{}"

    @classmethod
    def parse(cls, option: str, value: str) -> Self:
        """Read what stands after ``captions=``.

        Raises:
            ValueError: if it is none of the parts, or a sentence without ``{}``.
        """
        part, _, template = value.partition(":")
        if part not in _PARTS:
            raise unknown("part of a file's path to take captions from", part, _PARTS)
        if template and template.count("{}") != 1:
            raise ValueError(
                f"{option}: a sentence has one {{}} where the name goes, for example captions={part}:a {{}}"
            )
        return cls(part, template or "{}")

    def of(self, path: PurePath) -> str:
        """Return the caption of a file by its path from the folder that was given; empty where there is no name.

        >>> FilenameCaptions("path").of(PurePath("birds/snowy_owl-2.png"))
        'birds snowy owl 2'
        >>> FilenameCaptions("folder", "a {}").of(PurePath("birds/1.png"))
        'a birds'
        """
        parts = {"name": (path.stem,), "folder": path.parts[-2:-1], "path": (*path.parts[:-1], path.stem)}
        words = " ".join(word for part in parts[self.part] for word in re.split(r"[\W_]+", part) if word)
        return self.template.replace("{}", words) if words else ""


@final
@dataclass(frozen=True)
class SourceOptions:
    """A user's word on how files are read, beside where they are.

    Attributes:
        columns: the table's own columns, several with a plus between them, for modalities and `FACTS`; and those that
            are columns of the data by their own names. Captions may be a template that joins columns (`Template`).
        captions: where a folder's captions come from, and the sentence that they are put into; see `FilenameCaptions`.
        outside: True where paths in a table may lead out of its folder.
        broken: the share of examples that may be left out, for whatever reason.
        group: ``"looks"`` keeps pictures that look alike in one split, ``"folder"`` those of a folder too, so that
            whole classes are held out; ``"none"`` spares the hashes for it.
        held_out: the most rows of validation and of test, each, where the splits are made here.
        max_pixels: of a picture; one of more is broken.
        numbers: labels that are numbers, though all of them are whole.
        least: the number of examples that a class or a tag of a label needs; rarer ones are left out. None for 2 of a
            class and 5 of a tag.
    """

    columns: Mapping[str, str] = field(default_factory=dict, hash=False)  # a mapping has no hash
    captions: FilenameCaptions | None = None
    outside: bool = False
    broken: float = MAX_BROKEN
    group: str = "looks"
    held_out: int = MOST_HELD_OUT
    max_pixels: int = MOST_PIXELS
    numbers: tuple[str, ...] = ()
    least: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read options as they are written, with commas between them.

        Raises:
            ValueError: for a value that an option cannot take, or an option given twice.

        >>> dict(SourceOptions.parse("columns=image:path+text:alt").columns)
        {'image': 'path', 'text': 'alt'}
        """
        options = Spec.parse(f"data,{text}" if text else "data").options
        values = {
            name.replace("-", "_"): _READERS[name](f"{name}={value}", value)
            for name, value in options.items()
        }
        return cls(**values)

    @classmethod
    def of(cls, written: str) -> Self:
        """Return the options of data as a user wrote it, place and all; see `parse`.

        >>> SourceOptions.of("pairs.csv,broken=0.1").broken
        0.1
        """
        return cls.parse(parted(written)[1])

    @property
    def groups_similar(self) -> bool:
        """True where pictures that look alike stay together."""
        return self.group != "none"

    def asked(self) -> list[str]:
        """Return the names of the options that say something to a source, and not of the whole."""
        whole = {name.replace("-", "_") for name in OF_THE_WHOLE}
        return [f.name for f in fields(self) if getattr(self, f.name) and f.name not in whole]


def parted(written: str) -> tuple[str, str]:
    """Return the place of what a user wrote, and the text of its options; a file that is called so is a place.

    >>> parted("pairs.csv,broken=0.1"), parted("a,b=c.csv")
    (('pairs.csv', 'broken=0.1'), ('a,b=c.csv', ''))
    """
    named = re.search(rf"(?:,(?:{'|'.join(_READERS)})=[^,]*)+$", written)
    if named is None or os.path.exists(written):
        return local(written), ""
    return local(written[: named.start()]), written[named.start() + 1 :]


def without_budget(written: str) -> str:
    """Return the name of data without its budget for what is broken, by which data may be refused, and never differs.

    >>> without_budget("pairs.csv,broken=0.1,group=none")
    'pairs.csv,group=none'
    """
    if parts_of(written):
        return each_changed(written, without_budget)
    whole, gaps = gaps_of(written)
    place, options = parted(whole)
    meant = [option for option in options.split(",") if option and option.partition("=")[0] != "broken"]
    return with_gaps(",".join([place, *meant]), [str(gap) for gap in gaps])


def columns_of(words: Sequence[str]) -> dict[str, str]:
    """Return the columns that ``--columns`` names, word by word or with commas between them.

    Raises:
        ValueError: for a word that says nothing, a use that there is not, or one that is named twice.

    >>> columns_of(["image=path", "text=alt+title"]), columns_of(["question,answer"])
    ({'image': 'path', 'text': 'alt+title'}, {'question': 'question', 'answer': 'answer'})
    >>> columns_of(["text={name}, {tags}"])
    {'text': '{name}, {tags}'}
    >>> columns_of(["image=path,text={name}, {tags}"])
    {'image': 'path', 'text': '{name}, {tags}'}
    """
    # A comma in a template is part of it, but not one before WHAT=.
    uses = "|".join(map(re.escape, (*MODALITIES.names(), *FACTS)))
    parts = chain.from_iterable(re.split(rf",(?=\s*(?:{uses})\s*=)", each) for each in words)
    return _by_use(chain.from_iterable([each] if is_template(each) else each.split(",") for each in parts))


def _by_use(words: Iterable[str]) -> dict[str, str]:
    """Return columns by what they are for, of words ``WHAT=COLUMN``; see `columns_of`."""
    columns: dict[str, str] = {}
    for word in words:
        role, equals, column = (part.strip() for part in word.partition("="))
        column = column if equals else role
        if not (role and column):
            raise ValueError(
                f"--columns {word}: write WHAT=COLUMN, for example image=path, or the name of a column alone"
            )
        if role in columns and (not takes_several(role) or is_template(columns[role] + column)):
            raise ValueError(f"--columns names the {role} twice: {columns[role]} and {column}")
        columns[role] = f"{columns[role]}+{column}" if role in columns else column
    checked(columns)
    return columns


def checked(columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return columns by what they are for.

    Raises:
        UnknownNameError: for a use that there is not; a name that stands for itself is a column's.
        ValueError: for a column's name that cannot be written as an option.
    """
    for role, column in columns.items():
        is_column = role not in MODALITIES and role not in FACTS
        if is_template(column) and (is_column or role in FACTS or MODALITIES.get(role).held != "texts"):
            raise ValueError(f'a template makes captions: write "text={column}"')
        if is_template(column):
            continue
        if is_column and role != column:
            raise unknown("use of a column", role, (*MODALITIES.names(), *FACTS))
        marks = "," + ("" if takes_several(role) else "+") + (":=" if is_column else "")
        if mark := next((mark for mark in marks if mark in column), ""):
            raise ValueError(
                f"the column {column!r} cannot be named here for its {mark!r}: rename it in the table"
            )
    return columns


def with_columns(source: str, columns: Mapping[str, str]) -> str:
    """Return the name of data whose table has columns of other names.

    Args:
        source: as a user wrote it.
        columns: names of the table's columns by what they are for: a modality, ``id``, ``split``, ``group``; one that
            is a column of the data by its own name stands for itself.

    Raises:
        UnknownNameError: for a use that there is not.

    >>> with_columns("pairs.csv", {"image": "path", "text": "alt"})
    'pairs.csv,columns=image:path+text:alt'
    >>> with_columns("faq.csv", {"question": "question", "answer": "answer"})
    'faq.csv,columns=question+answer'
    >>> with_columns("icons.jsonl", {"text": "{name}, {tags}"})
    'icons.jsonl,columns=text:{name}%2C {tags}'
    """
    if columns and parts_of(source):
        raise ValueError(
            "columns of which source? With several --data, say it behind each: pairs.csv,columns=image:path+text:alt"
        )
    option = "+".join(
        option_of(role, column) if role in MODALITIES or role in FACTS else column
        for role, named in checked(columns).items()
        for column in said_columns(role, named)
    )
    return f"{source},columns={option}" if option else source


def takes_several(role: str) -> bool:
    """Return whether several columns of a table may be one of the data: texts, and values."""
    return role in MODALITIES and MODALITIES.get(role).held != "files"


def said_columns(role: str, named: str) -> tuple[str, ...]:
    """Return the columns of a table that a user named for a use: one, several with a plus between them, or a template.

    >>> said_columns("text", "caption_1+caption_2"), said_columns("image", "path")
    (('caption_1', 'caption_2'), ('path',))
    >>> said_columns("text", "{name} + {tags}")
    ('{name} + {tags}',)
    """
    return tuple(named.split("+")) if takes_several(role) and not is_template(named) else (named,)


def _columns(option: str, value: str) -> Mapping[str, str]:
    return _by_use(f"{role}={column}" for role, column in map(read_option, value.split("+")))


def _outside(option: str, value: str) -> bool:
    if value not in ("yes", "no"):
        raise ValueError(f"{option}: whether paths may lead out of the folder is yes or no")
    return value == "yes"


def _broken(option: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise ValueError(f"{option}: the share of rows that may be left out is a number from 0 to below 1")
    return share


def _group(option: str, value: str) -> str:
    ways = ("looks", "folder", "none")
    if value not in ways:
        raise unknown("way to keep pictures together", value, ways)
    return value


def _held_out(option: str, value: str) -> int:
    if not (value.isdecimal() and int(value)):
        raise ValueError(f"{option}: the rows of validation and of test are a whole number from 1 on")
    return int(value)


def _max_pixels(option: str, value: str) -> int:
    most = 2 * (Image.MAX_IMAGE_PIXELS or MOST_PIXELS)
    if not (value.isdecimal() and 1 <= int(value) <= most):
        raise ValueError(
            f"{option}: the most pixels of a picture are a whole number from 1 to {most}, Pillow's own limit"
        )
    return int(value)


def _least(option: str, value: str) -> int:
    if not (value.isdecimal() and int(value)):
        raise ValueError(f"{option}: the examples of a class or a tag are a whole number from 1 on")
    return int(value)


def _numbers(option: str, value: str) -> tuple[str, ...]:
    names = tuple(value.split("+"))
    if not all(names):
        raise ValueError(f"{option}: write the names of labels, several with a + between them")
    return names


OF_THE_WHOLE: dict[str, Callable[[str, str], Any]] = {
    "broken": _broken,
    "group": _group,
    "held-out": _held_out,
    "least": _least,
    "max-pixels": _max_pixels,
    "numbers": _numbers,
}
"""The options of a data set, whatever it is read from, with what reads each."""
_READERS: dict[str, Callable[[str, str], Any]] = {
    "captions": FilenameCaptions.parse,
    "columns": _columns,
    "outside": _outside,
    **OF_THE_WHOLE,
}
