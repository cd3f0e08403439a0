"""Values of a JSON object beside a picture: captions, an id, a split, a group, labels."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

from ..template import Template, columns_in, is_template
from ._files.text import as_text, label_text
from ._names import CAPTION_COLUMNS, SPLITS


def captions_in(values: Mapping[str, Any], where: str, user_columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the captions: those of the column that the user named, or of the first that is called like captions.

    Raises:
        ValueError: if they are neither a text nor texts.
    """
    if is_template(named := user_columns.get("text", "")):
        parts = {name: captions_in(values, where, {"text": name}) for name in columns_in(named)}
        joined = Template(named).fill(parts)
        return (joined,) if joined else ()
    for name in caption_names(user_columns):
        if values.get(name):
            texts = values[name] if isinstance(values[name], list) else [values[name]]
            if any(isinstance(each, dict | list) for each in texts):
                raise ValueError(f"{where}: {name} holds an object; expected a text or a list of texts")
            return tuple(text for text in map(as_text, texts) if text)
    return ()


def caption_names(user_columns: Mapping[str, str]) -> Sequence[str]:
    """Return the names that captions may have: the user's word alone, if there is one."""
    return columns_in(user_columns["text"]) if "text" in user_columns else CAPTION_COLUMNS


@final
class Identities:
    """Ids of one table, folder or shard: all of them numbers, or all of them texts.

    Where some are numbers and some texts, two programs have written them, and 1 and "1" would be one id.
    """

    def __init__(self) -> None:
        self._first: dict[bool, tuple[object, str, int]] = {}

    def text(self, value: object, where: str, line: int = 0) -> str | None:
        """Return an id as a text; None where there is none.

        Args:
            value: as JSON or a table has it.
            where: the place of it, for messages.
            line: of the place; 0 where that is no file of lines.

        Raises:
            ValueError: if it is a text where those before it are numbers, or the other way round.
        """
        text = as_text(value)
        kind = isinstance(value, str)
        if text is not None and kind not in self._first:
            self._first[kind] = value, where, line
            if len(self._first) > 1:
                texts, numbers = (
                    f"{json.dumps(one, ensure_ascii=False)} ({place}{f', line {number}' if number else ''})"
                    for one, place, number in (self._first[True], self._first[False])
                )
                raise ValueError(
                    f"{where}: some ids are numbers, the first of them {numbers}, and some texts, the first of them "
                    f"{texts}: write all of them as numbers, or all of them as texts"
                )
        return text


def facts_in(
    values: Mapping[str, Any],
    where: str,
    user_columns: Mapping[str, str],
    others: Collection[str],
    ids: Identities,
) -> dict[str, Any]:
    """Return ``id``, ``split``, ``group`` and ``labels`` of a record; only those that there are.

    Args:
        values: of the object.
        where: the place of it, for messages.
        user_columns: the columns that the user named, by what they are for.
        others: the names of what is read as something else.
        ids: of the records before this one, in the same file.

    Raises:
        ValueError: for a split that there is not, or ids of which some are numbers and some texts.
    """
    named = {fact: user_columns.get(fact, fact) for fact in ("id", "split", "group")}
    facts: dict[str, Any] = {fact: as_text(values.get(name)) for fact, name in named.items()}
    facts["id"] = ids.text(values.get(named["id"]), where)
    if facts["split"] is not None:
        split = facts["split"].lower()
        if split not in SPLITS:
            raise ValueError(f"{where}: split {split!r} is none of train, validation, test")
        facts["split"] = SPLITS[split]
    taken = {named["id"], named["split"], *others}
    labels = {name: label_text(value) for name, value in values.items() if name not in taken}
    facts["labels"] = {name: value for name, value in labels.items() if value is not None}
    return {name: value for name, value in facts.items() if value is not None}
