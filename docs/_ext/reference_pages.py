"""The reference of losses, of tasks and of the command line, made of the registries and the help texts."""

from __future__ import annotations

import os
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import get_args
from unittest import mock

from evidence_page import table
from method_page import plain

from counterpoint.cli import COMMANDS, main
from counterpoint.cli.data import Action
from counterpoint.evaluation import TASKS
from counterpoint.losses import LOSSES
from counterpoint.methods import METHODS
from counterpoint.registry import Registry


def losses_page() -> str:
    """Return a table of the losses of each family."""
    lines = [
        "# Losses",
        "",
        "`counterpoint.losses.create(NAME, …)` builds a loss by its name. A name with a link is also a method.",
        "",
    ]
    for family, names in _families(LOSSES):
        rows = []
        for name in names:
            title = f"[{name}](../methods/{name}.md)" if name in METHODS else f"`{name}`"
            rows.append((title, _class("counterpoint.losses", LOSSES.get(name)), plain(LOSSES.about(name))))
        lines += [
            f"## {family[:1].upper()}{family[1:]}",
            "",
            *table(("loss", "class", "what it is"), rows),
            "",
        ]
    return "\n".join(lines)


def tasks_page() -> str:
    """Return a table of the tasks of each family."""
    lines = [
        "# Tasks",
        "",
        "`--tasks NAME` asks a task; options follow the name after a comma (`few_shot,ways=10`).",
        "[What tasks ask](../reference/evaluation.md) has the metrics, the data and chance of each.",
        "",
    ]
    for family, names in _families(TASKS):
        rows = []
        for name in names:
            task = TASKS.get(name)
            rows.append(
                (
                    f"`{name}`",
                    plain(TASKS.about(name)),
                    ", ".join(task.asks),
                    f"`{task.primary}`" if task.primary else "",
                )
            )
        lines += [
            f"## {family[:1].upper()}{family[1:]}",
            "",
            *table(("task", "what it asks", "models", "primary metric"), rows),
            "",
        ]
    return "\n".join(lines)


def commands_page() -> str:
    """Return the help of every command."""
    lines = [
        "# Command line",
        "",
        *(f"- [`{name}`](#{name}): {about}" for name, about in COMMANDS.items()),
        "",
    ]
    for name, about in COMMANDS.items():
        lines += [f"## {name}", "", about, ""]
        for words in [[name, action] for action in get_args(Action)] if name == "data" else [[name]]:
            lines += [f"### {' '.join(words)}", ""] if name == "data" else []
            lines += ["```text", help_of(words), "```", ""]
    return "\n".join(lines)


def help_of(words: list[str]) -> str:
    """Return the help of a command, as wide as a page shows it."""
    printed = StringIO()
    option = "--help-all" if words == ["compare"] else "--help"
    with (
        mock.patch.dict(os.environ, COLUMNS="86", NO_COLOR="1"),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        main([*words, option])
    return printed.getvalue().strip()


def _families(registry: Registry) -> list[tuple[str, list[str]]]:
    families: dict[str, list[str]] = {}
    for name in registry.names():
        families.setdefault(registry.stated(name, "family"), []).append(name)
    return sorted(families.items())


def _class(package: str, thing: type) -> str:
    return f"{{py:class}}`~{package}.{thing.__name__}`"
