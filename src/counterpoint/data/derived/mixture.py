"""Several sources after ``--data``, in one text: ``emoji + glosses,share=0.5``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

MARK = " + "
"""Text between two sources that are mixed."""
WAYS = ("batch", "steps")
"""Ways to mix: a share of every batch, or a share of the steps, each of one source alone."""
_OPTION = re.compile(r",(share|by)=([^,]*)")


class MixtureComponent(NamedTuple):
    """One of the sources that are mixed.

    Attributes:
        source: as it would be written alone.
        share: of every batch, or of the steps; None leaves it an equal part of what the others leave.
        by: one of `WAYS`, or nothing where this part does not say it.
        options: what says so, as it was written.
    """

    source: str
    share: float | None = None
    by: str = ""
    options: str = ""


def together(sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> str:
    """Return one text for one source or for several.

    >>> together("emoji"), together(["emoji", "glosses,share=0.5"])
    ('emoji', 'emoji + glosses,share=0.5')
    """
    if isinstance(sources, str | os.PathLike):
        return os.fspath(sources)
    return MARK.join(os.fspath(source) for source in sources)


def sources_of(source: str) -> list[str]:
    """Return the sources that a text names, as they are written.

    >>> sources_of("emoji + glosses,share=0.5")
    ['emoji', 'glosses,share=0.5']
    """
    # A file may be called so; a user who mixes does not think of it.
    return [source] if os.path.exists(source) else source.split(MARK)


def each_changed(source: str, change: Callable[[str], str]) -> str:
    """Return a text with every source changed that it mixes, or the one that it names.

    >>> each_changed("emoji + glosses,share=0.5", str.upper)
    'EMOJI + GLOSSES,share=0.5'
    """
    if parts := parts_of(source):
        return MARK.join(change(part.source) + part.options for part in parts)
    return change(source)


def parts_of(source: str) -> list[MixtureComponent]:
    """Return the sources that a text mixes; none where it names one alone.

    >>> [(part.source, part.share) for part in parts_of("emoji + glosses,share=0.25")]
    [('emoji', None), ('glosses', 0.25)]

    Raises:
        ValueError: for a share that is no number above 0 and below 1, a way to mix that there is not, and either of
            them where nothing is mixed.
    """
    sources = sources_of(source)
    if len(sources) > 1:
        return [_part(one) for one in sources]
    if not os.path.exists(source) and (option := _OPTION.search(source)):
        raise ValueError(
            f"{source!r}: {option[1]}={option[2]} says how sources are mixed, and there is one: give --data twice"
        )
    return []


def _part(text: str) -> MixtureComponent:
    options = dict(_OPTION.findall(text))
    share = None
    if "share" in options:
        try:
            share = float(options["share"])
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            raise ValueError(
                f"{text!r}: share={options['share']} must be a number above 0 and below 1, the part of every batch"
            )
    by = options.get("by", "")
    if by and by not in WAYS:
        raise ValueError(f"{text!r}: by={by} must be one of {', '.join(WAYS)}")
    written = "".join(option[0] for option in _OPTION.finditer(text))
    return MixtureComponent(_OPTION.sub("", text), share, by, written)
