"""A model of another library as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ..methods.needs import Needs
from ..methods.tower_method import TowerMethod, paired
from ..networks.base import Towers
from ..networks.libraries import modalities_of
from ..networks.towers.build import build_towers
from ..networks.weights import TowerSource, hub_not_reached
from ..recipes import schema
from ..trust import UntrustedError
from ..types import Batch, Embeddings, StepInfo
from ._loader import TowerLoader


class Pretrained(TowerMethod):
    """Pretrained towers, perhaps with heads: nothing is trained.

    Args:
        towers: by column; of several, all into one space.
        heads: networks by the head's and the tower's name; features at unit norm are the embeddings unless given.
    """

    needs: ClassVar[Needs] = Needs(1, None)

    def __init__(self, towers: Towers, heads: Mapping[str, Mapping[str, nn.Module]] | None = None) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.heads = tuple(heads or ("global",))
        for head, networks in (heads or {}).items():
            self.projections[head] = nn.ModuleDict(networks)
        self.requires_grad_(False)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        if not self.projections:
            return features
        return self.projections.get_submodule(f"{head}.{self.columns[column]}")(features)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {}


def pretrained(source: TowerSource, fetch: str = "", context: int | None = None) -> Pretrained:
    """Build the towers of a source.

    Args:
        source: with its weights.
        fetch: the command that brings them to this machine; none of those that no hub has.
        context: the most tokens of a text, of a tower without a length of its own.

    Raises:
        ValueError: for weights that are missing, broken or do not fit.
    """
    name = str(source)
    columns = {modality: modality for modality in modalities_of(name)}
    sizes = schema.Towers() if context is None else schema.Towers(context=context)
    with _fetched(source, fetch):
        return Pretrained(
            build_towers(
                sizes, dict.fromkeys(columns), 0, columns=columns, names=dict.fromkeys(columns, name)
            )
        ).eval()


@contextmanager
def _fetched(source: TowerSource, command: str) -> Iterator[None]:
    """Say how to fetch what is not on this machine, where the hub was not reached."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, UntrustedError) or source.path is not None or not hub_not_reached(error):
            raise
        raise ValueError(
            f"{source} is not on this machine, and its hub is not reached; where there is a network: {command}"
        ) from error


class PackageLoader(TowerLoader):
    """A library with one model, which is in its package or in a file like the package's."""

    def towers(self, name: str) -> str:
        return f"{self.library}:{name}"

    def load(self, name: str) -> Pretrained:
        source = TowerSource.parse(self.towers(name))
        if source.weights is None:
            raise ValueError(f"{source} names no weights; write {self.form}")
        return pretrained(source)
