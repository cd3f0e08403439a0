"""Libraries with towers, by the name before the colon of a tower; nothing of them is imported before it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..modalities import LIBRARIES, MODALITIES, library_modalities
from ..registry import load
from .weights import TowerSource

if TYPE_CHECKING:
    from .base import Tower


class TowerLibrary(Protocol):
    """A library with towers; see `counterpoint.interop`."""

    def build(self, modality: str, source: TowerSource, start: Any) -> Tower:
        """Build a tower of a modality, at a `counterpoint.networks.towers.build.Start`."""
        ...

    def is_built_by_name(self, source: TowerSource) -> bool:
        """Return whether a tower's name alone, without its weights, says how it is built."""
        ...


def library_of(source: TowerSource) -> TowerLibrary | None:
    """Return the library of a tower; None for a built-in tower, and a library that is not known."""
    known = source.library in library_modalities()
    return LIBRARIES.get(source.library)() if known else None


def modalities_of(tower: str) -> tuple[str, ...]:
    """Return what a library's or a trained tower embeds, by its name; nothing for what names no such tower.

    >>> modalities_of("open_clip:ViT-B-32@openai"), modalities_of("cnn@runs/mine"), modalities_of("clip")
    (('image', 'text'), ('image',), ())
    """
    if not {"@", ":"} & set(tower):
        return ()
    source = TowerSource.parse(tower)
    if source.library in library_modalities() and (embeds := LIBRARIES.stated(source.library, "embeds")):
        return load(embeds)(source) if isinstance(embeds, str) else embeds
    # Of towers with one name only that of pictures, the first, is meant where no modality is.
    return tuple(modality.name for modality in MODALITIES if source.form in modality.tower_names)[:1]
