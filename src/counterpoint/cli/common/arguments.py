"""The part that several commands share: a form filled from the command line."""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ...data.derived.mixture import together
from ...forms import Derived, Flat, Positional, Typed, fields_of, validated
from ...reasons import printable
from ...recipes import DEFAULT, Recipe, override
from ...recipes import load as load_recipe
from ...recipes.schema import Augmentation, Optimizer, Parallel, Towers, Widths
from .execution import Execution
from .files import Files
from .study import Output

T = TypeVar("T")

_NUMBERS = {
    "invalid literal for int() with base 10": "whole number",
    "could not convert string to float": "number",
}

_WITHOUT_FOLDERS = {"doctor", "list", "reproduce"}
"""Commands that read no folder of a run, a study, vectors or an index."""

_POSITIONAL: Any = tyro.conf.Positional  # which a type checker takes for an annotation
_HIDDEN: Any = tyro.conf.Suppress

COMMON: Mapping[type, frozenset[str]] = {
    Recipe: frozenset({"batch_size", "steps", "epochs", "workers"}),
    Towers: frozenset(),
    Optimizer: frozenset(),
    Widths: frozenset(),
    Augmentation: frozenset(),
    Parallel: frozenset(),
    Files: frozenset({"columns", "captions"}),
    Execution: frozenset({"executor", "jobs"}),
    Output: frozenset({"out", "dry_run", "json", "title"}),
}
"""Options of forms that several commands share which ``--help`` shows; ``--help-all`` shows the others too."""


def parse(
    form: type[T], arguments: Sequence[str], command: str, defaults: Mapping[str, object] | None = None
) -> T:
    """Fill a form from the command line.

    A `Recipe` in it is given as ``--recipe NAME`` and single changes: the named recipe gives the defaults of its
    options, so that ``--recipe gpu --optimizer.lr 1e-3`` changes one number of that recipe.

    Args:
        form: a pydantic dataclass.
        arguments: the words after the command.
        command: the command's name, for messages.
        defaults: defaults that take the place of the form's own, by option.

    Raises:
        ValueError: for a value that an option cannot take.
        SystemExit: after ``--help``, and for words that are no options.
    """
    arguments = _mixed(arguments)
    recipe = _named(arguments)
    named = {"recipe": recipe} if _trains(form) else {}
    short = "--help-all" not in arguments
    arguments = [word if word != "--help-all" else "--help" for word in arguments]
    shown = _shown(form, {**(defaults or {}), **named}, short and "--help" in arguments)
    if command not in _WITHOUT_FOLDERS:
        shown = _with_trust(shown)
    refusal = io.StringIO()
    try:
        with redirect_stderr(refusal):
            filled: object = tyro.cli(shown, args=[*arguments], prog=f"counterpoint {command}")
    except SystemExit as ended:
        if not ended.code and short and _hides(form):
            print(f"More options: counterpoint {command} --help-all")
        if ended.code:
            said = f"counterpoint {command}: {_in_a_line(refusal.getvalue(), command)}"
            print(printable(said), file=sys.stderr)
        raise
    return validated(form, _values(form, filled, recipe), partial(_option, form))


def _with_trust(shown: type) -> type:
    """Return a form with the option that `counterpoint.trust.command` has read from the words already."""
    help = (
        "Import the Python files that a folder names, such as the loss of a run that somebody else trained."
    )
    row = ("trust", Annotated[bool, tyro.conf.arg(help=help)], dataclasses.field(default=False))
    whole = dataclasses.make_dataclass(shown.__name__, [row], bases=(shown,), frozen=True, kw_only=True)
    whole.__doc__ = shown.__doc__
    return whole


def _mixed(arguments: Sequence[str]) -> list[str]:
    """Return the words with one ``--data`` for all: the sources that it names several times are mixed.

    >>> _mixed(["clip", "--data", "emoji", "--data=glosses,share=0.5", "--seeds", "3"])
    ['clip', '--seeds', '3', '--data', 'emoji + glosses,share=0.5']
    """
    words, sources, others = iter(arguments), [], []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag == "--data" and (equals or (value := next(words, ""))):
            sources.append(value)
        else:
            others.append(word)
    return [*others, "--data", together(sources)] if len(sources) > 1 else [*arguments]


def _in_a_line(box: str, command: str) -> str:
    """Return what tyro says in a box: its first paragraph, and the option that it takes for the one meant."""
    paragraphs: list[list[str]] = [[]]
    for line in (edged.strip("│╰╯ ") for edged in box.splitlines()[1:]):  # the first is the title
        if line and not line.strip("─-"):
            paragraphs.append([])
        elif line:
            paragraphs[-1].append(line)
    (first, *others), *rest = [part for part in paragraphs if part]
    if first.startswith("Missing from "):
        return f"{others[0]} is missing (see: counterpoint {command} --help)"
    meant = [
        line.split()[0].partition("|")[0].rstrip(",")
        for part in rest
        for line in part
        if line.startswith("--")
    ]
    near = f"; did you mean {meant[0]}?" if meant and first.startswith("Unrecognized") else ""
    words = " ".join([first, *others]).removesuffix(".")
    if first.startswith("Unrecognized") and any(
        Path(word.strip()).exists() for word in words.partition(":")[2].split(",")
    ):
        near = "; a pattern that stands for several files is to be quoted: 'shards/*.tar'"
    # Of an option that may be none, more is said of its types before.
    if wrong := re.match(rf"Error parsing (\S+): .*?({'|'.join(map(re.escape, _NUMBERS))}): ('.*')$", words):
        return f"{wrong[1]} takes a {_NUMBERS[wrong[2]]}, got {wrong[3]} (see: counterpoint {command} --help)"
    return f"{words[0].lower()}{words[1:]}{near} (see: counterpoint {command} --help)"


def _named(arguments: Sequence[str]) -> Recipe:
    """Return the recipe that is named, whose values are the defaults of its options.

    Raises:
        ValueError: for a length in steps and in epochs.
    """
    recipe = load_recipe(value_of(arguments, "--recipe") or DEFAULT)
    if value_of(arguments, "--epochs") is None:
        return recipe
    if value_of(arguments, "--steps") is not None:
        raise ValueError("--steps and --epochs both say how long to train: give one of them")
    # What is typed goes before the recipe's own length, and before its limit of passes unless that is typed too.
    return override(recipe, {"steps": None, "most_passes": None})


def value_of(arguments: Sequence[str], flag: str) -> str | None:
    """Return the value of an option as it was typed, before anything is parsed; of several the last counts, as there.

    >>> value_of(["--recipe", "cpu", "--recipe=gpu"], "--recipe")
    'gpu'
    """
    value = None
    for position, word in enumerate(arguments):
        if word == flag and position + 1 < len(arguments):
            value = arguments[position + 1]
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def _hides(form: type) -> bool:
    """Return whether the short help leaves out options of a form or of a form within."""
    kinds = [field.annotation for _, field in _options(form)]
    return form in COMMON or any(_is_form(kind) and _hides(kind) for kind in kinds if isinstance(kind, type))


def _shown(form: type, defaults: Mapping[str, object], short: bool = False) -> type:
    """Return the form as tyro fills it: the same options, without constraints.

    tyro builds the parts of a form one after another, and where one refuses its values it prints many lines that do
    not name the option. Filled without constraints and then checked as a whole, each fault is one line.
    """
    rows: list[tuple[str, Any, Any]] = []
    for name, field in _options(form):
        typed = _mark(field, Typed)
        kind: Any = typed.kind if typed else field.annotation
        said = _paragraphs(field.description)
        if _is_form(kind):
            start = defaults.get(name, field.get_default(call_default_factory=True))
            inner = _shown(kind, vars(start) if isinstance(start, BaseModel) else defaults, short)
            argument = tyro.conf.arg(help=said)
            if kind is Recipe:
                rows.append((name, Annotated[str, argument], DEFAULT))
            argument = tyro.conf.arg(name="") if _flat(field) else argument
            whole = (
                dataclasses.field()
                if start is PydanticUndefined
                else dataclasses.field(default_factory=inner)
            )
            rows.append((_filled(name, kind), Annotated[inner, argument], whole))
            continue
        default = defaults.get(name, field.get_default(call_default_factory=True))
        if typed:
            default = default if typed.default is None else typed.default
            default = str(default) if isinstance(default, Path) else default
        shape = _unless_none(kind)
        if _mark(field, Positional):
            # Unless named, it stands as its type in the usage, and where it is missing.
            many, needed = get_origin(kind) is tuple, default is PydanticUndefined
            shape = ("[{} ...]" if many else "{}" if needed else "[{}]").format(name.upper())
            kind = _POSITIONAL[kind]
        # Of a default that is nothing, the words of the option say what it means.
        hint = "" if default in (None, "", ()) else None
        if short and name not in COMMON.get(form, {name}):
            kind = _HIDDEN[kind]
        argument = tyro.conf.arg(help=said, metavar=shape, help_behavior_hint=hint)
        stands = dataclasses.field() if default is PydanticUndefined else dataclasses.field(default=default)
        rows.append((name, Annotated[kind, argument], stands))
    shown = dataclasses.make_dataclass(form.__name__, rows, frozen=True, kw_only=True)
    shown.__doc__ = form.__doc__
    return shown


def _unless_none(kind: Any) -> str | None:
    """Return how the value of an option that may be none is shown: its type, or its words; None for other options.

    >>> _unless_none(int | None), _unless_none(Literal["a", "b"] | None), _unless_none(int)
    ('INT', '{a,b}', None)
    """
    if NoneType not in get_args(kind) or len(get_args(kind)) != 2:
        return None
    (one,) = (one for one in get_args(kind) if one is not NoneType)
    if get_origin(one) is Annotated:
        one = get_args(one)[0]
    if get_origin(one) is Literal:
        return f"{{{','.join(get_args(one))}}}"
    return one.__name__.upper() if get_origin(one) is None else None


def _paragraphs(text: str | None) -> str | None:
    """Return a description with a line for each paragraph: tyro breaks it where the source does, and again.

    >>> _paragraphs("Models that are\\nscored.\\n\\nOn the same rows.")
    'Models that are scored.\\n\\nOn the same rows.'
    """
    return text and "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _values(form: type, filled: Any, recipe: Recipe) -> dict[str, object]:
    """Return what tyro has filled in, by the fields of the form; what cannot be typed comes from the named recipe."""
    values: dict[str, object] = {}
    for name, field in _options(form):
        if not _is_form(field.annotation):
            values[name] = getattr(filled, name)
            continue
        kind = _kind(field)
        parts = _values(kind, getattr(filled, _filled(name, kind)), recipe)
        if kind is Recipe:
            untyped = dict(fields_of(Recipe)).keys() - dict(_options(Recipe)).keys()
            parts |= {field_name: getattr(recipe, field_name) for field_name in untyped}
        # A recipe's keys alone could be meant as changes of another one.
        values[name] = validated(Recipe, parts, partial(_option, Recipe)) if kind is Recipe else parts
    return values


def _option(form: type, name: str) -> str:
    """Return an option as it is typed, from the dotted name of its field.

    The options of a flat part are named without the part, and the part itself has no name.
    """
    if not name:
        return ""
    first, _, rest = name.partition(".")
    field = fields_of(form)[first]
    if _flat(field):
        return _option(_kind(field), rest) if rest else ""
    return first if _mark(field, Positional) else f"--{name.replace('_', '-')}"


def _filled(name: str, kind: object) -> str:
    """Return the field that tyro fills: a recipe's name has that of the recipe."""
    return f"{name}_changes" if kind is Recipe else name


def _options(form: type) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in fields_of(form).items() if _mark(field, Derived) is None]


def _trains(form: type) -> bool:
    """Return whether a recipe is among the options of a form, or of a form within."""
    kinds = [field.annotation for _, field in _options(form)]
    return any(
        kind is Recipe or (_is_form(kind) and _trains(kind)) for kind in kinds if isinstance(kind, type)
    )


def _kind(field: FieldInfo) -> type:
    assert isinstance(field.annotation, type)
    return field.annotation


def _is_form(kind: object) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or hasattr(kind, "__pydantic_fields__"))


def _flat(field: FieldInfo) -> bool:
    return field.annotation is Recipe or _mark(field, Flat) is not None


def _mark(field: FieldInfo, kind: type[T]) -> T | None:
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)
