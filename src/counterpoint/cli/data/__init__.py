"""counterpoint data: what is done with a data set is a file each, with its options."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Literal, get_args

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Positional
from ..common.arguments import parse

Action = Literal["show", "describe", "audit", "convert", "index", "condense", "captions", "replies"]

OPTIONS = {
    "show": "ShowOptions",
    "describe": "DescribeOptions",
    "audit": "AuditOptions",
    "convert": "ConvertOptions",
    "index": "DataIndexOptions",
    "condense": "CondenseOptions",
    "captions": "CaptionsOptions",
    "replies": "RepliesOptions",
}
"""Class of the options of each action, in the module of the action's name."""


@form(frozen=True, config=FORM)
class DataOptions:
    """Show a data set in a picture or page, describe it in a table, audit its labels, index, convert or condense it.

    Or write captions of its pictures, or worse replies to its requests.
    """

    action: Annotated[Action, Positional()]
    """show writes a picture or a page; describe reports what is there and what is wrong with it; audit lists the rows
    of a run whose labels are probably wrong; convert writes a data set's rows as shards, index what shards hold, and
    condense makes few pictures of each class, captions writes captions of its pictures or takes them from queries, and
    replies makes worse replies to requests, for --data: these go on where they were stopped. Each has its own
    --help."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in get_args(Action):
        parse(DataOptions, arguments, "data")  # answers --help, and a wrong word with what is right
        return 2
    action = import_module(f"{__name__}.{arguments[0]}")
    options = parse(getattr(action, OPTIONS[arguments[0]]), arguments[1:], f"data {arguments[0]}")
    return action.main(options)
