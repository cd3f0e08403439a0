"""A model of another library as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..methods.base import TowerMethod, paired
from ..methods.needs import Needs
from ..networks.base import Towers
from ..networks.towers.build import build_towers
from ..networks.towers.hugging_face import modalities_of
from ..networks.weights import Source
from ..recipes import schema
from ..types import Batch, Clock, Embeddings


class Pretrained(TowerMethod):
    """Pretrained towers without heads: embeddings are their features at unit norm, and nothing is trained.

    Args:
        towers: by column; of two, both of one pair, so that they share a space.
    """

    needs: ClassVar[Needs] = Needs(1, 2)

    def __init__(self, towers: Towers) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.requires_grad_(False)

    def project(self, column: str, features: Float[Tensor, "n d"], head: str) -> Float[Tensor, "n d"]:
        return features

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        return {}


def pretrained(source: Source, fetch: str, context: int | None = None) -> Pretrained:
    """Build the towers of a source.

    Args:
        source: with its weights.
        fetch: the command that brings them to this machine.
        context: the most tokens of a text, of a tower without a length of its own.

    Raises:
        ValueError: for weights that are missing, broken or do not fit.
    """
    name = str(source)
    columns = {modality: modality for modality in modalities_of(name)}
    sizes = schema.Towers() if context is None else schema.Towers(context=context)
    with _fetched(source, fetch):
        return Pretrained(
            build_towers(sizes, {}, 0, columns=columns, names=dict.fromkeys(columns, name))
        ).eval()


@contextmanager
def _fetched(source: Source, command: str) -> Iterator[None]:
    """Say how to fetch what is not on this machine, where the hub was not reached."""
    try:
        yield
    except ValueError as error:
        if source.path is not None or not any(_is_offline(cause) for cause in _causes(error)):
            raise
        raise ValueError(
            f"{source} is not on this machine, and its hub is not reached; where there is a network: {command}"
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_offline(error: BaseException) -> bool:
    from urllib.error import URLError

    from huggingface_hub.errors import LocalEntryNotFoundError

    return isinstance(error, URLError | ConnectionError | LocalEntryNotFoundError)
