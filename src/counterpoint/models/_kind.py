"""The form of a kind of model: a file of this room holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ..methods.tower_method import TowerMethod


class ModelLoader(ABC):
    """A kind of model, written ``KIND:NAME`` after its file; hyphens and underscores are alike.

    Attributes:
        form: the ways to write one, for messages.
    """

    form: ClassVar[str]

    def holds(self, folder: Path) -> bool:
        """Return whether a folder that is named without a kind is a model of this one."""
        return False

    @abstractmethod
    def towers(self, name: str) -> str:
        """Return the name by which an arm builds the towers of a model in a folder, with its weights after an @.

        Args:
            name: what stands after the colon, or the folder.

        Raises:
            ValueError: for a kind, or a model, that no towers are built of; the message says what to write.
        """

    @abstractmethod
    def load(self, name: str) -> TowerMethod:
        """Load a model, ready to ``embed``.

        Args:
            name: what stands after the colon, or the folder.

        Raises:
            ValueError: if it cannot be; the message says what is missing.
        """
