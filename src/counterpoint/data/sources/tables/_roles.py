"""From the names of a table's columns to what they are for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from ....modalities import MODALITIES
from ...named import check_columns
from ...template import columns_in
from .._ledger import ALSO_POSSIBLE
from .._names import CAPTION_COLUMNS, CONVERSATIONS, CORPORA, PICTURE_COLUMNS, SOUND_COLUMNS, caption_rank
from .._options import FACTS, said_columns
from ._kinds import ColumnType

ONE_A_ROW = (
    "; a row has one picture: write a row for each, with a column group that says which belong together"
)
"""Advice for a column that holds several pictures a row."""
_NUMBERED = re.compile(r"(caption|text|sentence)_?\d+")


@final
@dataclass(frozen=True)
class Roles:
    """The columns of a table of files, with captions or without, by their use.

    Attributes:
        file: of the picture, or of the sound.
        modality: of what is in its files, where a name says it; None where their endings do.
        texts: of the captions, one or several, or a template that joins some; none where the table is of files alone.
        facts: of ``id``, ``split`` and ``group``, as far as the table has them.
        guess: what was guessed, with the alternatives and the option that changes it; empty if nothing was.
    """

    file: str
    modality: str | None
    texts: tuple[str, ...]
    facts: Mapping[str, str]
    guess: str = ""

    @property
    def taken(self) -> set[str]:
        """The columns that are in use and no labels."""
        return {self.file, *_columns_in(self.texts), *_facts_taken(self.facts)}

    def headers(self, modality: str) -> dict[str, tuple[str, ...]]:
        """Return the columns of the data, whose files are of a modality, each with those of the table."""
        return {modality: (self.file,)} | ({"text": self.texts} if self.texts else {})


@final
@dataclass(frozen=True)
class DerivedColumn:
    """A column of the data, made of columns of a table.

    Attributes:
        name: of the column of the data.
        modality: of its examples.
        headers: the columns of the table: one, or several of texts or values; of texts also a template.
    """

    name: str
    modality: str
    headers: tuple[str, ...]

    @property
    def held(self) -> str:
        """The form in which the table holds its examples; see `counterpoint.modalities.Modality`."""
        return MODALITIES.get(self.modality).held


@final
@dataclass(frozen=True)
class TableColumns:
    """The columns of a table that is more than files with captions.

    Attributes:
        made: the columns of the data, in their order.
        facts: of ``id``, ``split`` and ``group``, as far as the table has them.
        guess: what was guessed, with the alternatives and the option that changes it; empty if nothing was.
    """

    made: tuple[DerivedColumn, ...]
    facts: Mapping[str, str]
    guess: str = ""

    @property
    def taken(self) -> set[str]:
        """The columns that are in use and no labels."""
        return {*self.read, *_facts_taken(self.facts)}

    @property
    def read(self) -> list[str]:
        """The columns of the table that the data is made of."""
        return _columns_in(header for each in self.made for header in each.headers)

    @property
    def modalities(self) -> dict[str, str]:
        """The columns of the data, each with its modality."""
        return {each.name: each.modality for each in self.made}

    @property
    def headers(self) -> dict[str, tuple[str, ...]]:
        """The columns of the data, each with those of the table that it is made of."""
        return {each.name: each.headers for each in self.made}


def file_columns(user_columns: Mapping[str, str]) -> Sequence[str]:
    """Return the names that the column of files may have: the user's word alone, if there is one."""
    named = [named for role, named in user_columns.items() if _is_file(role)]
    return named or (*PICTURE_COLUMNS, *SOUND_COLUMNS)


def text_columns(columns: Sequence[str], user_columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of some columns that hold captions: the user's word, the first usual name, or numbered ones.

    >>> text_columns(["file_name", "caption_2", "caption_1"], {})
    ('caption_1', 'caption_2')
    """
    if "text" in user_columns:
        return said_columns("text", user_columns["text"])
    usual = [name for name in CAPTION_COLUMNS if name in columns]
    return tuple(usual[:1] or sorted(name for name in columns if _NUMBERED.fullmatch(name)))


def chosen(
    path: str,
    columns: Sequence[str],
    user_columns: Mapping[str, str],
    kind: Callable[[str], ColumnType],
    *,
    whole: bool = True,
    stated: Mapping[str, str] | None = None,
) -> Roles | TableColumns:
    """Return the columns of a table by their use.

    Where nothing is said, files are those of a usual name, of a modality that the table states, or of endings that say
    theirs; further columns are files of other modalities. Captions are in a column of a usual name, else in one whose
    name holds a word like title or name, else in the first of sentences. In a table without files, lists of numbers are
    taken, sentences, and numbers that are not whole. What is said is taken as it is; of files alone, captions are still
    found by their usual names, and of captions alone, the files. The columns of some public tables are known
    (`CORPORA`).

    Args:
        path: of the table, for messages.
        columns: of the table.
        user_columns: those that the user named, by what they are for.
        kind: says what a column holds, by its name.
        whole: the table is here as a whole, so that what its cells hold says what its columns are for.
        stated: columns of files whose modality the table itself states, which goes before what their names say.

    Raises:
        ValueError: if one that was named is missing, naming the nearest one and those that there are; or if there is
            nothing that is read.
    """
    wanted = [
        (role, column)
        for role, named in user_columns.items()
        for column in _columns_in(said_columns(role, named))
    ]
    check_columns(path, columns, wanted)
    if user_columns.keys() <= {*FACTS}:
        user_columns = {
            **next((known for known in CORPORA if {*known.values()} <= {*columns}), {}),
            **user_columns,
        }
    facts = {fact: user_columns.get(fact, fact) for fact in FACTS if user_columns.get(fact, fact) in columns}
    data_columns = {role: named for role, named in user_columns.items() if role not in FACTS}
    files = [role for role in data_columns if _is_file(role)]
    if (
        data_columns.keys() - {*files, "text"}
        or len(files) > 1
        or (files and kind(data_columns[files[0]]).form == "arrays")
    ):
        return TableColumns(_named_columns(path, data_columns, columns, facts, kind), facts)
    stated = stated or {}
    spoken = [] if data_columns else _conversations(columns)
    said = [header for each in spoken for header in each.headers]
    free = [name for name in columns if name not in facts.values()]
    names = file_columns(user_columns)
    if not files:
        names = (*(name for name in names if name in stated), *stated, *names)
    file = next((name for name in names if name in columns), None)
    texts = text_columns(columns, user_columns)
    guesses: list[str] = []
    usual = file is not None
    if file is None and whole:
        held = [name for name in free if name not in texts and kind(name).form == "files"]
        if held:
            file = held[0]
            guesses.append(_guess(kind(file).modality or "image", held[0], held[1:]))
    guessing = file is not None and whole and not (texts or files)
    texts_of = [name for name in free if name not in (file, *said)]
    possible = _captions_in(texts_of, kind, usual=usual) if guessing else ()
    if possible:
        texts = possible[:1]
        guesses.append(_guess("text", possible[0], possible[1:]))
    if file is None:
        made = _recognised([name for name in free if name not in texts], texts, kind) if whole else ()
        if made:
            return TableColumns(made, facts)
        raise ValueError(
            f"{path}: no column for the picture; expected one of {', '.join(names)}, found {list(columns)}; --columns "
            "image=NAME (or audio=NAME) says which it is, and --columns NAME NAME names columns of the data"
        )
    modality = files[0] if files else stated.get(file, "audio" if file in SOUND_COLUMNS else None)
    guess = "; ".join(guesses)
    roles = Roles(file, modality, texts, facts, guess)
    if files or not whole:
        return roles
    main = modality or kind(file).modality or MODALITIES.names()[0]
    others = _others([name for name in free if name not in roles.taken], main, kind) + spoken
    if not others:
        return roles
    captions = (DerivedColumn("text", "text", texts),) if texts else ()
    return TableColumns((DerivedColumn(main, main, (file,)), *captions, *others), facts, guess)


def as_noted(
    noted: Mapping[str, str], user_columns: Mapping[str, str], columns: Sequence[str]
) -> TableColumns:
    """Return the columns of a table that notes them, each a column of the data.

    Args:
        noted: the columns of the data, each with its modality.
        user_columns: columns for facts, that the user named.
        columns: all columns of the table.
    """
    facts = {fact: user_columns.get(fact, fact) for fact in FACTS if user_columns.get(fact, fact) in columns}
    return TableColumns(
        tuple(DerivedColumn(name, modality, (name,)) for name, modality in noted.items()), facts
    )


def _named_columns(
    path: str,
    data_columns: Mapping[str, str],
    columns: Sequence[str],
    facts: Mapping[str, str],
    kind: Callable[[str], ColumnType],
) -> tuple[DerivedColumn, ...]:
    """Return the columns that a user named, each of what its use or its cells say."""
    made = []
    for role, named in data_columns.items():
        modality = role if role in MODALITIES else kind(named).suits
        made.append(DerivedColumn(role, modality, said_columns(role, named)))
    headers = _columns_in(header for each in made for header in each.headers)
    if twice := [header for header in headers if headers.count(header) > 1 or header in facts.values()]:
        raise ValueError(f"{path}: the column {twice[0]!r} is named for two things; leave one of them out")
    if all(map(_is_file, data_columns)):
        texts = tuple(name for name in text_columns(columns, {}) if name not in headers)
        made += [DerivedColumn("text", "text", texts)] if texts else []
    if "talk" in data_columns:
        # Texts that bear a name of their own are other replies to the same request.
        request = said_columns("talk", data_columns["talk"])[:1]
        made = [
            DerivedColumn(it.name, "talk", request + it.headers) if it.modality == "text" != it.name else it
            for it in made
        ]
    return tuple(made)


def _others(names: Sequence[str], main: str, kind: Callable[[str], ColumnType]) -> list[DerivedColumn]:
    """Return columns of files of other modalities than the main one: of each modality the first."""
    made: dict[str, DerivedColumn] = {}
    for name in names:
        modality = kind(name).modality
        if modality is not None and modality != main:
            made.setdefault(modality, DerivedColumn(modality, modality, (name,)))
    return list(made.values())


def _conversations(names: Sequence[str]) -> list[DerivedColumn]:
    """Return the columns of conversations that are made of columns of usual names."""
    for known in CONVERSATIONS:
        if {*known["talk"]} <= {*names}:
            return [
                DerivedColumn(name, "talk", headers)
                for name, headers in known.items()
                if {*headers} <= {*names}
            ]
    return []


def _recognised(
    names: Sequence[str], texts: tuple[str, ...], kind: Callable[[str], ColumnType]
) -> tuple[DerivedColumn, ...]:
    """Return the columns of a table without files; the only one of a modality bears the modality's name."""
    kinds = {name: kind(name) for name in names}
    alone: list[tuple[tuple[str, ...], str]] = [(texts, "text")] if texts else []
    alone += [((name,), it.suits) for name, it in kinds.items() if it.form in ("arrays", "sentences")]
    numbers = tuple(name for name, it in kinds.items() if it.form == "numbers" and not it.whole)
    together = [(numbers, kinds[numbers[0]].suits)] if numbers else []
    every = [*alone, *together]
    counts = [modality for _, modality in every]
    return tuple(
        DerivedColumn(modality if counts.count(modality) == 1 else headers[0], modality, headers)
        for headers, modality in every
    )


def _is_file(role: str) -> bool:
    return role in MODALITIES and MODALITIES.get(role).held == "files"


def _columns_in(named: Iterable[str]) -> list[str]:
    """Return the columns of a table that names and templates stand for."""
    return [column for each in named for column in columns_in(each)]


def _captions_in(names: Sequence[str], kind: Callable[[str], ColumnType], *, usual: bool) -> tuple[str, ...]:
    """Return the columns that may hold captions, the likeliest first.

    Args:
        names: of the columns.
        kind: says what a column holds, by its name.
        usual: the files are in a column of a usual name, beside which texts that repeat are labels.
    """
    kinds = {name: kind(name) for name in names}
    texts = [name for name in names if kinds[name].form in ("sentences", "words")]
    varied = [name for name in texts if kinds[name].varied]
    ranks = {name: rank for name in varied if (rank := caption_rank(name)) is not None}
    sentences = [name for name in (varied if usual else texts) if kinds[name].form == "sentences"]
    return tuple(dict.fromkeys([*sorted(ranks, key=lambda name: ranks[name]), *sentences]))


def _guess(role: str, taken: str, others: Sequence[str]) -> str:
    """Return what was guessed in words, with the alternatives and the option that changes it.

    >>> print(_guess("text", "Food Name", ["Local names"]))
    text = 'Food Name'; also possible: 'Local names' (--columns "text=Local names")
    """
    said = f"{role} = {taken!r}"
    if not others:
        return said
    return f'{said}; {ALSO_POSSIBLE}{", ".join(map(repr, others))} (--columns "{role}={others[0]}")'


def _facts_taken(facts: Mapping[str, str]) -> set[str]:
    return {column for fact, column in facts.items() if fact != "group"}
