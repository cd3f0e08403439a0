"""Base classes of the kinds of model that `counterpoint.load` reads, and of those that towers are built of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from ..methods.tower_method import TowerMethod
from ..networks.base import Tower
from ..networks.towers.build import Start
from ..networks.weights import TowerSource


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


class TowerLoader(ModelLoader):
    """A library whose models are towers.

    ``library``, ``modalities``, ``embeds`` and ``packages`` are read from the source of a class, which is not imported
    for it: each is a literal in the class itself, and none is inherited.

    Attributes:
        library: its name, with which the names of its towers begin.
        modalities: of which it has towers.
        embeds: the modalities that a tower's name alone means, or the place of a function that finds them by a
            `TowerSource`; the first of ``modalities`` unless given.
        packages: the models that come as Python packages, by name; the fields of a `PackagedModel`.
        has_text_layers: whether ``towers.text_layers`` is the number of blocks of its text towers.
    """

    library: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]]
    embeds: ClassVar[tuple[str, ...] | str] = ()
    packages: ClassVar[Mapping[str, Mapping[str, str | bool]]] = {}
    has_text_layers: ClassVar[bool] = False

    @abstractmethod
    def build(self, modality: str, source: TowerSource, start: Start) -> Tower:
        """Build a tower of a modality.

        Raises:
            UnknownNameError: for a name that the library does not have.
            MissingPackageError: for weights in a package that is not installed.
            ValueError: for weights that are missing, broken or do not fit.
        """

    def is_built_by_name(self, source: TowerSource) -> bool:
        """Return whether a tower's name alone, without its weights, says how it is built."""
        return True

    def configuration(self, source: TowerSource) -> Path | None:
        """Return the folder on this machine that says how a tower is built; None where its name alone does."""
        return None

    def bare_name(self, tower: Tower, source: TowerSource) -> str:
        """Return the name under which a tower without a configuration is built, without its weights and the hub."""
        return str(replace(source, weights=None))

    def name_in(self, folder: Path, name: str) -> str:
        """Return the name under which a tower is built from its configuration in a folder.

        Args:
            folder: with the configuration.
            name: of the tower, without weights.
        """
        return f"{name}@{folder}"
