"""The command line: one file per command, imported when it is asked for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from .. import trust
from ..execution import signals
from ..execution.ranks import first_to_fail
from ..reasons import printable, reason
from ..registry import unknown

COMMANDS = {
    "compare": "Train several methods under one recipe and say which differences are real.",
    "compare-decoding": "Decode a vision-language model's replies in several ways: what helps, and what it costs.",
    "generate": "Let a vision-language model reply about a picture, decoded by a method.",
    "draw": "Let painters draw a text, with words that runs have learned, each in its box.",
    "train": "Train and evaluate one method.",
    "evaluate": "Evaluate models side by side on a data set.",
    "diagnose": "Look inside a trained run, or at what a vision-language model's replies rest on.",
    "work": "Take the next unfinished run of a study, on any machine that sees its folder.",
    "status": "Show how every run of a study stands, and where.",
    "report": "Write a study's table and report again.",
    "embed": "Embed a data set: vectors as Parquet files.",
    "index": "Make an index of vectors, or add to one.",
    "search": "Find what is most like a text or a picture in an index.",
    "serve": "Serve an index: a page to search it, and an API.",
    "export": "Write a model for another library, or say which can hold it.",
    "data": "Show, describe, audit, convert, index or condense a data set.",
    "list": "List methods, losses, tasks, ways of decoding, presets, recipes, towers or modalities.",
    "papers": "The papers: what each is, where it lives, what was measured.",
    "reproduce": "Run the experiment that tests a paper's claim.",
    "check": "Check the properties of a loss, a method, a task or a tower, your own or a registered one.",
    "doctor": "Say what is installed and what is missing, with the command that mends it.",
}


_RESUMED = {
    *("compare", "compare-decoding", "train", "work", "report", "embed", "index", "data", "reproduce")
}
"""Commands that save what they have done, so that the same command continues after a stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the process's exit status."""
    # Not list(…): the command of that name is a module of this package, and so the name here.
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    if not words or words[0] in {"-h", "--help"}:
        print(_help())
        return 0
    if words[0] == "--version":
        from .. import __version__

        print(f"counterpoint {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if signals.under_torchrun():
        # Not yet imported, torch would warn from every process of parameters that all losses reach.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        signals.follow(os.getppid(), signals.end_with_grace)
    _listen()
    try:
        with signals.raised(), _plain_warnings(), trust.command(rest):
            return _run(command, rest)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, signals.StopRequest) else signals.StopRequest()
        if first_to_fail(str(stopped)):
            advice = "; the same command goes on from here" if command in _RESUMED else ""
            print(f"\n{stopped}{advice}.", file=sys.stderr)
        return stopped.status
    except BrokenPipeError:
        from .common.terminal import silence

        silence(sys.stdout)
        return 0
    except Exception as error:
        # One clear line for what a user can mend; the traceback is one variable away for everyone else.
        if os.environ.get("COUNTERPOINT_TRACEBACK"):
            raise
        if first_to_fail(message := reason(error)):
            print(printable(f"counterpoint {command}: {message}"), file=sys.stderr)
        return 1


def _run(command: str, rest: Sequence[str]) -> int:
    if command not in COMMANDS:
        raise unknown("command", command, COMMANDS)
    run: Callable[[Sequence[str]], int] = import_module(f"{__name__}.{command.replace('-', '_')}").main
    return run(rest)


def _listen() -> None:
    """Show what the package says of its own choices (how pairs are evaluated), once each, beside the output."""
    import logging

    class MessageFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(MessageFormatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("counterpoint").setLevel(logging.INFO)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as the user needs them: the place in the source says nothing to them."""

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        return printable(f"! {message}\n")

    before, warnings.formatwarning = warnings.formatwarning, plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "counterpoint: which pre-training method really helps on your paired data",
        "",
        "usage: counterpoint COMMAND [OPTIONS]     (counterpoint COMMAND --help for its options)",
        "",
        *(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
        "",
        "start here: counterpoint compare clip slip siglip --data emoji --seeds 3",
    ]
    return "\n".join(lines)
