"""The part that several commands share: a form filled from the command line."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ...data.derived.mixture import together
from ...forms import ComputedField, FlatField, ParsedField, Positional, fault, fields_of, validated
from ...reasons import printable
from ...recipes import DEFAULT, Recipe, override
from ...recipes import load as load_recipe
from ...recipes.schema import Augmentation, Optimizer, Parallel, Towers, Widths
from ...trust import OPTION
from .execution import Execution
from .files import FileOptions
from .study import Output

T = TypeVar("T")

_FLAG = re.compile(r"--?[A-Za-z][\w.-]*(=.*)?", re.DOTALL)

_WITHOUT_FOLDERS = {"check", "doctor", "list", "reproduce"}
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
    FileOptions: frozenset({"columns", "captions"}),
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
    short = "--help-all" not in arguments
    arguments = [word if word != "--help-all" else "--help" for word in arguments]
    helps = not {"-h", "--help"}.isdisjoint(arguments)
    trusts = command not in _WITHOUT_FOLDERS
    words = [word for word in arguments if word != OPTION] if trusts else arguments
    if not helps and (wrong := _fault(form, words, defaults or {})):
        line = f"counterpoint {command}: {wrong} (see: counterpoint {command} --help)"
        print(printable(line), file=sys.stderr)
        raise SystemExit(2)
    recipe = _named(arguments)
    named = {"recipe": recipe} if _trains(form) else {}
    shown = _shown(form, {**(defaults or {}), **named}, short and helps)
    shown = _with_trust(shown) if trusts else shown
    try:
        filled: object = tyro.cli(shown, args=[*arguments], prog=f"counterpoint {command}")
    except SystemExit:
        if helps and short and _hides(form):
            print(f"More options: counterpoint {command} --help-all")
        raise
    return validated(form, _values(form, filled, recipe), partial(_option, form))


def _with_trust(shown: type) -> type:
    """Return a form with the option that `counterpoint.trust.command` has read from the words already."""
    said = (
        "Import the Python files that a folder names, such as the loss of a run that somebody else trained."
    )
    row = ("trust", Annotated[bool, tyro.conf.arg(help=said)], dataclasses.field(default=False))
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


def _fault(form: type, words: Sequence[str], defaults: Mapping[str, object]) -> str:
    """Return why the words of a command line cannot fill a form; nothing where they can.

    tyro reports the same faults in a box of many lines.
    """
    fields = dict(_flags(form))
    positional = [name for name in fields if not name.startswith("--")]
    values: dict[str, list[str]] = {}
    option, room = "", 0.0  # the option that takes the next word, and the number of words that it still takes
    separated = False  # whether "--" has come, behind which no word is an option
    for word in words:
        if word == "--" and not separated:
            separated, room = True, 0.0 if option.startswith("-") else room
            continue
        is_flag = not separated and _FLAG.fullmatch(word)
        name, equals, value = word.partition("=") if is_flag else ("", "=", word)
        if name or (not room and positional):
            option = name.replace("_", "-") or positional.pop(0)
            if option not in fields:
                near = [other for other in fields if other.endswith(f".{option.lstrip('-')}")]
                near = near or get_close_matches(option, fields, 1)
                return f"unknown option {name}" + (f"; did you mean {near[0]}?" if near else "")
            kind = _typed_kind(fields[option])
            values[option] = []
            room = _max_words(kind)
        if equals and not room:
            quoted = "; quote a pattern of several files: 'shards/*.tar'" if Path(value).exists() else ""
            return f"unexpected argument {value!r}{quoted}"
        if equals:
            values[option].append(value)
            room -= 1
    for option, field in fields.items():
        kind = _typed_kind(field)
        several = get_origin(kind) is tuple  # of which there may be none
        if option not in values and field.is_required() and not several and option.lower() not in defaults:
            return f"{option} is missing"
        if option in values and not (values[option] or several or kind is bool):
            return f"{option} needs a value"
        for value in values.get(option, ()):
            if wrong := _misfit(kind, value):
                return f"{option} {wrong}"
    return ""


def _flags(form: type, prefix: str = "--") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields of a form and of its parts by the names that are typed: ``--optimizer.lr``, ``DATA``."""
    for name, field in _options(form):
        if _is_form(kind := _typed_kind(field)):
            if kind is Recipe:
                yield "--recipe", FieldInfo(annotation=str, default=DEFAULT)
            for flag, inner in _flags(kind, prefix if _flat(field) else f"{prefix}{name}."):
                if inner.is_required() and not field.is_required():
                    inner = copy(inner)  # the default of the part has a value for it
                    inner.default = None
                yield flag, inner
        elif _mark(field, Positional):
            yield name.upper(), field
        else:
            for negation in ("", "no-") if kind is bool else ("",):
                yield f"{prefix}{negation}{name.removesuffix('_')}".replace("_", "-"), field


def _typed_kind(field: FieldInfo) -> Any:
    """Return the type of what is typed for a field."""
    typed = _mark(field, ParsedField)
    return typed.kind if typed else field.annotation


def _max_words(kind: Any) -> float:
    """Return the largest number of words that an option of a type takes.

    >>> _max_words(bool), _max_words(int | None), _max_words(tuple[int, int] | None), _max_words(tuple[str, ...])
    (0, 1, 2, inf)
    """
    if kind is bool:
        return 0
    (several, *_) = [one for one in (kind, *get_args(kind)) if get_origin(one) is tuple] or [None]
    if several is None:
        return 1
    return math.inf if Ellipsis in get_args(several) else len(get_args(several))


def _misfit(kind: Any, word: str) -> str:
    """Return why a word has the wrong type for an option; nothing where it has not, or is out of range alone.

    >>> _misfit(int | None, "two"), _misfit(tuple[Literal["a", "b"], ...], "c"), _misfit(float, "1e-3")
    ("must be a whole number, got 'two'", "must be one of 'a' or 'b', got 'c'", '')
    """
    one = get_args(kind)[0] if get_origin(kind) is tuple else kind
    try:
        TypeAdapter(one).validate_strings(word)
    except ValidationError as error:
        if error.errors()[0]["type"] in {"int_parsing", "float_parsing", "literal_error"} and word != "None":
            return fault(error)
    return ""


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
        typed, kind = _mark(field, ParsedField), _typed_kind(field)
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
        # A word of Python's own has an underscore behind it.
        flag = name.removesuffix("_") if name.endswith("_") else None
        argument = tyro.conf.arg(name=flag, help=said, metavar=shape, help_behavior_hint=hint)
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
    return first if _mark(field, Positional) else f"--{name.removesuffix('_').replace('_', '-')}"


def _filled(name: str, kind: object) -> str:
    """Return the field that tyro fills: a recipe's name has that of the recipe."""
    return f"{name}_changes" if kind is Recipe else name


def _options(form: type) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in fields_of(form).items() if _mark(field, ComputedField) is None]


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
    return field.annotation is Recipe or _mark(field, FlatField) is not None


def _mark(field: FieldInfo, kind: type[T]) -> T | None:
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)
