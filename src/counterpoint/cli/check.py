"""counterpoint check."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Positional
from ..registry import import_file, named_in_file, unknown
from ..spec import Spec
from .common.arguments import parse

if TYPE_CHECKING:
    from ..testing import Checks


@form(frozen=True, config=FORM)
class Check:
    """Check the properties of a loss, a method, a task or a tower, and print those that fail."""

    target: Annotated[str, Positional()]
    """Class in a file, as FILE.py:NAME, or a registered name; options follow after commas: NAME,margin=0.2."""
    thorough: bool = False
    """Check more tiles and kinds of numbers of a loss."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Check, arguments, "check")
    logging.getLogger("counterpoint").setLevel(logging.WARNING)  # how pairs are evaluated is not asked here
    return max(report(title, checks) for title, checks in named_by(options.target, options.thorough))


def report(title: str, checks: Checks) -> int:
    """Print a line for each property; return 1 if one fails, else 0."""
    from ..testing import failure_of
    from .common.terminal import Terminal

    terminal = Terminal()
    terminal.print(title, soft_wrap=True)
    failed = total = 0
    for name, check in checks:
        message = failure_of(check)
        result = f"fails: {message}".replace("\n", "\n" + " " * 31) if message else "ok"
        terminal.print(f"  {name:<28} {result}", soft_wrap=True)
        total, failed = total + 1, failed + bool(message)
    terminal.print(f"{failed} of {total} properties fail." if failed else f"All {total} properties hold.")
    return min(failed, 1)


def named_by(target: str, thorough: bool) -> Iterator[tuple[str, Checks]]:
    """Yield what a target names, each with its checks.

    Raises:
        FileNotFoundError: for a file that does not exist.
        UnknownNameError: for a name that is not known.
        ValueError: for a class that is no loss, method, task or tower.
    """
    spec = Spec.parse(target)
    in_file = named_in_file(spec.name)
    if in_file is not None:
        yield checks_of(attribute(*in_file), spec, thorough)
        return
    if ".py" in spec.name:
        raise ValueError(f"a class in a file is written FILE.py:NAME, got {spec.name!r}")
    yield from registered(spec, thorough)


def attribute(file: Path, name: str) -> Any:
    """Return what a file defines under a name."""
    module = import_file(file)
    if not hasattr(module, name):
        own = [n for n, it in vars(module).items() if getattr(it, "__module__", "") == module.__name__]
        raise unknown(f"name in {file}", name, own)
    return getattr(module, name)


def checks_of(subject: Any, spec: Spec, thorough: bool) -> tuple[str, Checks]:
    """Return the kind and the name of a class, or of a function that makes an object, with its checks."""
    from torch import nn

    from .. import testing
    from ..evaluation import Task
    from ..methods import Method
    from ..methods.options import check, read
    from ..networks import Tower

    name = spec.name.rpartition(":")[2]
    made = subject if inspect.isclass(subject) else type(subject()) if inspect.isfunction(subject) else None
    if made is None or not issubclass(made, nn.Module | Task):
        raise ValueError(
            f"{spec.name} is no loss, method, task or tower: name a class that derives from torch.nn.Module, "
            "counterpoint.methods.Method, counterpoint.evaluation.Task or counterpoint.networks.Tower"
        )
    check(name, subject, spec.options)
    options = read(name, subject, spec.options)
    build: Callable[..., Any] = partial(subject, **options) if options else subject
    if issubclass(made, Method):
        return f"method {name}", testing.method_checks(made, options=options)
    if issubclass(made, Tower):
        return f"tower {name}", testing.tower_checks(build)
    if issubclass(made, Task):
        return f"task {name}", testing.task_checks(build)
    return f"loss {name}", testing.loss_checks(subject, options=options, thorough=thorough)


def registered(spec: Spec, thorough: bool) -> Iterator[tuple[str, Checks]]:
    """Yield what a registered name stands for: one may name a loss and a method, another towers of two modalities."""
    from ..evaluation import TASKS
    from ..losses import LOSSES
    from ..methods import METHODS
    from ..networks import TOWERS

    towers = [name for name in TOWERS if ":" not in name]
    if not any(spec.name in names for names in (LOSSES, METHODS, TASKS, towers)):
        names = {*LOSSES.names(), *METHODS.names(), *TASKS.names(), *towers}
        raise unknown("loss, method, task or tower", spec.name, names)
    from .. import testing

    if spec.name in LOSSES:
        yield checks_of(LOSSES.get(spec.name), spec, thorough)
    if spec.name in METHODS:
        yield f"method {spec}", testing.method_checks(str(spec))
    if spec.name in TASKS:
        yield f"task {spec}", testing.task_checks(spec.name)
    if spec.name in towers:
        for modality, build in testing.built_in_towers(spec.name).items():
            yield f"{modality} tower {spec}", testing.tower_checks(build)
