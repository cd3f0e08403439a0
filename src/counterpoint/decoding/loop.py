"""The model's own decoding loop: what ``generate`` would run by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

NEEDED = (4, 56)
"""The first transformers whose ``custom_generate`` takes a callable."""
_LOOPS = {"greedy_search": "_sample", "sample": "_sample", "beam_search": "_beam_search"}


def check_version(installed: str | None = None) -> None:
    """Raise unless transformers has the hook that decoding stands on.

    >>> check_version("4.51.3")
    Traceback (most recent call last):
    ...
    ImportError: decoding needs transformers>=4.56, whose generate takes custom_generate=callable, and 4.51.3 is \
installed; run: pip install -U 'transformers>=4.56'
    """
    installed = version("transformers") if installed is None else installed
    if tuple(int(part) for part in installed.split(".")[:2]) < NEEDED:
        needed = "transformers>=" + ".".join(map(str, NEEDED))
        raise ImportError(
            f"decoding needs {needed}, whose generate takes custom_generate=callable, and {installed} is "
            f"installed; run: pip install -U '{needed}'"
        )


def own_loop(model: Any, config: Any, streamer: Any = None) -> Callable[..., Any]:
    """Run greedy search, sampling or beam search of this model's class, as the generation config asks for.

    Raises:
        ValueError: for any other mode, and for beams with a streamer.
    """
    mode = config.get_generation_mode().value
    if mode not in _LOOPS:
        raise ValueError(
            f"generation mode {mode!r}: branches go with greedy search, sampling (do_sample=True) or beam search "
            "(num_beams=k, without sampling); leave out what asks for another"
        )
    loop: Callable[..., Any] = getattr(type(model), _LOOPS[mode])
    if mode != "beam_search":
        return partial(loop, streamer=streamer)
    if streamer is not None:
        raise ValueError("beam search has nothing to stream before its end; leave out the streamer")
    return loop
