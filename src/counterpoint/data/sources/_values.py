"""Values of a JSON object beside a picture: captions, an id, a split, a group, labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ._files.text import as_text, label_text
from ._names import CAPTION_COLUMNS, SPLITS


def captions_in(values: Mapping[str, Any], where: str, user_columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the captions: those of the column that the user named, or of the first that is called like captions.

    Raises:
        ValueError: if they are neither a text nor texts.
    """
    for name in caption_names(user_columns):
        if values.get(name):
            texts = values[name] if isinstance(values[name], list) else [values[name]]
            if any(isinstance(each, dict | list) for each in texts):
                raise ValueError(f"{where}: {name} holds an object; expected a text or a list of texts")
            return tuple(text for text in map(as_text, texts) if text)
    return ()


def caption_names(user_columns: Mapping[str, str]) -> Sequence[str]:
    """Return the names that captions may have: the user's word alone, if there is one."""
    return (user_columns["text"],) if "text" in user_columns else CAPTION_COLUMNS


def facts_in(
    values: Mapping[str, Any], where: str, user_columns: Mapping[str, str], others: Collection[str]
) -> dict[str, Any]:
    """Return ``id``, ``split``, ``group`` and ``labels`` of a record; only those that there are.

    Args:
        values: of the object.
        where: the place of it, for messages.
        user_columns: the columns that the user named, by what they are for.
        others: the names of what is read as something else.

    Raises:
        ValueError: for a split that there is not.
    """
    named = {fact: user_columns.get(fact, fact) for fact in ("id", "split", "group")}
    facts: dict[str, Any] = {fact: as_text(values.get(name)) for fact, name in named.items()}
    if facts["split"] is not None:
        split = facts["split"].lower()
        if split not in SPLITS:
            raise ValueError(f"{where}: split {split!r} is none of train, validation, test")
        facts["split"] = SPLITS[split]
    taken = {named["id"], named["split"], *others}
    labels = {name: label_text(value) for name, value in values.items() if name not in taken}
    facts["labels"] = {name: value for name, value in labels.items() if value is not None}
    return {name: value for name, value in facts.items() if value is not None}
