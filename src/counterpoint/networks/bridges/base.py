"""The contract of bridges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from ..base import ImageTower
from ..heads import Linear

ChangeBehind = Callable[[Float[Tensor, "B L W"], int], Float[Tensor, "B L W"]]
"""A function of the input of a layer, over all tokens, and of the number of tokens before those of the picture."""
Grouping = Literal["strided", "tiles", "repeated"]


@dataclass(frozen=True)
class Seen:
    """The features of pictures' patches.

    Attributes:
        levels: of layers of the picture tower, the last one last; patches in the order of the grid's rows.
        grid: rows and columns of patches.
        fine: patches of a finer view, in the order of the rows of its grid; None where there is none.
    """

    levels: tuple[Float[Tensor, "B _ w"], ...]
    grid: tuple[int, int]
    fine: Float[Tensor, "B m w"] | None = None

    @property
    def last(self) -> Float[Tensor, "B n w"]:
        return self.levels[-1]


@dataclass(frozen=True)
class Given:
    """What a language model reads of pictures.

    Attributes:
        tokens: vectors in place of those of tokens.
        before: functions of the inputs of layers, by the layer's number.
        summary: one vector of each picture, of a bridge that gives one.
    """

    tokens: Float[Tensor, "B K W"]
    before: Mapping[int, ChangeBehind] = field(default_factory=dict)
    summary: Float[Tensor, "B W"] | None = None


class Bridge(nn.Module, ABC):
    """From the patches of a picture to tokens of a language model.

    Args:
        width: of the features of patches.
        out: width of the language model.
        grid: rows and columns of patches.
        tokens: K, of a picture; the bridge's own number unless given.
        std: of the language model's vectors of words; the tokens begin at about this scale.

    Attributes:
        order: another order of the patches changes the tokens, if only in their order.
        placed: it gives a token for each patch, in the order of the patches.
        levels: it can read several levels; else the last one alone.
        options: what its constructor takes beside that of all bridges; ``layers`` is the language model's number.
        level_count: how many levels it reads.
        asks: it reads the question.
        fine: it reads a finer view of the picture.
        tokens: K.

    Raises:
        ValueError: for a number of tokens that it cannot give.
    """

    order: ClassVar[bool] = True
    placed: ClassVar[bool] = False
    levels: ClassVar[bool] = False
    asks: ClassVar[bool] = False
    fine: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    level_count: int = 1
    tokens: int

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__()
        self.grid, self.std = grid, std
        self.tokens = self.own_tokens if tokens is None else tokens

    @property
    def own_tokens(self) -> int:
        """The number of tokens where nobody says another: one for each patch."""
        return self.grid[0] * self.grid[1]

    @property
    def deepest(self) -> int:
        """The last layer of the language model whose input it changes; −1 for none."""
        return -1

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """The number of patches of each level."""
        return (self.grid[0] * self.grid[1],) * self.level_count

    def read(
        self, tower: ImageTower, pictures: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width ..."], ...]:
        """Return the maps of patches of each level that it reads, the last level last."""
        if self.level_count > 1:
            return tower.patch_levels(pictures, self.level_count)
        return (tower.patches(pictures),)

    @abstractmethod
    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        """Return what the language model reads.

        Args:
            seen: patches of pictures.
            asked: the vectors of the question's tokens, for a bridge that ``asks``.
        """

    def into_words(self, width: int, out: int) -> Linear:
        """Return a linear layer to the scale of words, for input of unit variance."""
        return Linear(width, out, std=self.std * width**-0.5, bias=True)

    def one_for_each(self) -> None:
        """Refuse another number of tokens than patches.

        Raises:
            ValueError: naming bridges that have a choice.
        """
        if self.tokens != self.own_tokens:
            raise ValueError(
                f"tokens={self.tokens}: this bridge gives a token for each of the {self.own_tokens} patches; leave "
                "tokens out, or take bridge=pooled or bridge=resampler"
            )
