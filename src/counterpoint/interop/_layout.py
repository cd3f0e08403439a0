"""The base class of layouts, in which other libraries keep models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES

Embed = Callable[[str, Any], Tensor]
"""Embeddings ``(n, d)`` of raw inputs of a modality by another library: of pictures as Pillow has them, of texts."""


class Layout(ABC):
    """A way in which another library keeps models; its name is its file's.

    Attributes:
        form: a line for lists: what lies in the folder, and who reads it.
        packages: the optional packages that it needs, each with the extra that installs it.
        keeps_scale: it has a place for the scale and the bias of similarities.
        keeps_heads: it has a place for every head; else only the first one is kept.
        keeps: the names of further parts of a model that it has a place for.
        merges: low-rank updates stand within the weights that they are of when it is given a model.
        replies: what it holds replies to requests, and is compared by logits in place of embeddings.
        library: that reads it, by the hub's name.
        ours: this package reads it.
    """

    form: ClassVar[str]
    packages: ClassVar[Mapping[str, str]] = {}
    keeps_scale: ClassVar[bool] = False
    keeps_heads: ClassVar[bool] = False
    keeps: ClassVar[tuple[str, ...]] = ()
    merges: ClassVar[bool] = True
    replies: ClassVar[bool] = False
    library: ClassVar[str]
    ours: ClassVar[bool] = False

    @abstractmethod
    def refusal(self, model: TowerMethod) -> str:
        """Return why it cannot hold a model, in words; nothing where it can."""

    def leaves_out(self, model: TowerMethod) -> Sequence[str]:
        """Return what of a model it has no place for, beyond what no layout has a place for; a phrase each."""
        return ()

    def modalities(self, model: TowerMethod) -> tuple[str, ...]:
        """Return the modalities of a model that it holds: all of them unless a layout says otherwise."""
        return tuple(dict.fromkeys(model.tower(column).modality for column in model.embeds))

    @abstractmethod
    def write(self, model: TowerMethod, folder: Path) -> None:
        """Write a model that is not refused into an empty folder."""

    @abstractmethod
    def read(self, folder: Path) -> Embed:
        """Return what embeds, by the other library itself with its own preprocessing, from what `write` wrote."""

    def use(self, model: TowerMethod, picture: str) -> Sequence[str]:
        """Return the lines of Python that load it and embed, from a variable ``folder``.

        Args:
            model: that was written.
            picture: an expression of a picture of Pillow.
        """
        return ()

    def custom_code(self, model: TowerMethod) -> str:
        """Return the part of an export for which its reader needs this package; nothing where it needs none."""
        return ""

    def needs_counterpoint(self, model: TowerMethod) -> bool:
        """Return whether an export of a model can be read only where this package is installed."""
        return self.ours or bool(self.custom_code(model))

    def embed(self, model: TowerMethod, column: str, raw: Any) -> Tensor:
        """Return what of a model the layout keeps: its embeddings, unless a layout keeps less."""
        return model.embed(column, raw)

    def settle(self, folder: Path, location: str) -> None:  # noqa: B027 # most folders say nothing of the kind
        """Change what has to say where the folder stands in the end: a path, or a name on the hub."""


MOST = 1e-5
"""The largest difference of two numbers of unit-norm embeddings at which they count as the same."""


def uncompared(model: TowerMethod) -> str:
    """Return why an export of a model could not be compared with it, in words; nothing where it can."""
    others = [
        modality for c in model.embeds if MODALITIES.get(modality := model.tower(c).modality).sample is None
    ]
    return (
        f"there are no samples of the modality {others[0]!r} to compare its embeddings on" if others else ""
    )
