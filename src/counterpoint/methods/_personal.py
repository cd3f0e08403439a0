"""The base of methods that teach a painter new words from a few pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..generation import LearnedWords, Reading, classes_of
from ..networks.base import Input, Towers
from ..networks.painter import NAME, STEPS, PaintingNetwork, default_path
from ..networks.towers.maps import MapSquare
from ..networks.towers.parts.pixels import Square
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..raw import check_pictures
from ..recipes.schema import Recipe
from ..registry import load
from ..types import Batch, Embeddings, StepInfo
from .needs import Needs
from .painter import NOISE, TIME, Painter
from .tower_method import TowerMethod, paired

ERRORS, MAPS = "errors.", "maps."
"""Prefixes of what `Personal.encode` returns: squared errors of pictures, and maps of words, with the column's name."""
_AT_ONCE = 64
MASKS = "masks"
"""Name of the view of masks that `Personal.prepare` makes of the column of maps."""


class PersonalOptions(TypedDict, total=False):
    """Options of all methods that teach a painter new words."""

    prompt: str
    like: str


class CustomDiffusionOptions(PersonalOptions, total=False):
    """Options of custom diffusion, and of what continues it."""

    prior: float
    prior_pictures: int


class Personal(TowerMethod):
    """New words of a painter, which a run goes on from and which does not change.

        L = E ‖v − v_θ(x_t, t, c)‖²

    c are the states of the prompt. What learns are vectors of the new words in it, and where a method says so,
    additions to the keys and values of cross-attention. A run saves these alone, with a digest of the painter's
    weights; to load it, the painter must be where it was.

    A picture may have a map of classes, which says where the subject of each word is: a word is the class of its name,
    or, where not all words have one, the first word is the first class behind the background, and so on.

    Args:
        towers: of pictures and of maps, of which the inputs alone are used.
        recipe: unused.
        painter: the run of `Painter`, or a pipeline that it wrote, as ``tiny-painter`` is; ``from=RUN`` says it.
        prompt: of all pictures, with new words in angle brackets; unless given, ``a <NAME>`` for each class of the map,
            joined with "and", or ``a <one>``.
        like: the words of the painter that the new ones begin as, with + between them; unless given, their vectors are
            drawn with the mean and the deviation of the painter's.

    Attributes:
        learned: the words; a subclass may make another one by `make_words`.

    Raises:
        MissingPackageError: without diffusers.
        ValueError: for a model that is no painter, maps of numbers, and as `counterpoint.generation.LearnedWords` does.
    """

    family = "images"
    needs: ClassVar[Needs] = Needs(1, 2, modalities=("image",), more="map")
    optional: ClassVar[tuple[str, ...]] = ("map",)
    draws = True
    keys: ClassVar[bool] = False

    def __init__(
        self, towers: Towers, recipe: Recipe, *, painter: str, prompt: str = "", like: str = ""
    ) -> None:
        super().__init__(towers)
        if recipe.towers.keep:
            raise ValueError(
                "towers.keep: new words are learned from the pictures themselves; leave keep out"
            )
        self.picture, *maps = towers
        self.map = next(iter(maps), "")
        self.views = paired(towers)
        self.mapped: tuple[MapSquare, ...] = ()
        names: tuple[str, ...] = ()
        if self.map:
            given = towers[self.map].input
            assert isinstance(given, MapSquare)
            if not given.classes:
                raise ValueError(f"a map says which class a pixel is of, and {self.map} is one of numbers")
            self.mapped, names = (given,), given.classes[1:]
        self.learned = self.make_words(
            painter_of(painter), prompt or " and ".join(f"a <{it}>" for it in names or ("one",)), like
        )
        self.use_input_alone(*towers)

    def make_words(self, painter: PaintingNetwork, prompt: str, like: str) -> LearnedWords:
        """Return what learns."""
        return LearnedWords(painter, prompt, like, keys=self.keys)

    @property
    def words(self) -> tuple[str, ...]:
        """The new words."""
        return self.learned.words.names

    @property
    def painter(self) -> PaintingNetwork:
        """The painter."""
        return self.learned.painter

    @property
    def embeds(self) -> tuple[str, ...]:
        return ()

    @property
    def inputs(self) -> Mapping[str, Input]:
        size = self.learned.painter.size
        return {
            self.picture: Square(size),
            **({self.map: replace(self.mapped[0], size=size, way=None)} if self.map else {}),
        }

    @property
    def picture_size(self) -> int:
        return self.learned.painter.size

    @property
    def width(self) -> int:
        return self.learned.painter.width

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        raise ValueError(f"this model draws pictures and has no {column} embeddings")

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Return the batch with a level of noise and the noise of each picture, and with the masks of words."""
        noise, times = drawn_noise(batch[self.picture])
        views = {**batch.views, TIME: times, NOISE: noise}
        if self.map:
            views[MASKS] = self.masks(batch[self.map])
        return replace(batch, views=views)

    def masks(self, maps: Float[Tensor, "B H W"] | Tensor) -> Bool[Tensor, "B N H W"]:
        """Return where the subject of each word is: binary, without soft borders; empty where that is not known."""
        numbers = classes_of(self.words, self.mapped[0].classes)
        return torch.stack([maps == number for number in numbers], 1)

    def read(self, batch: Batch) -> Reading:
        """Return what the painter makes of the noisy pictures of a batch."""
        return self.learned.read(batch[self.picture], batch[NOISE], batch[TIME])

    def encode(self, batch: Batch) -> Embeddings:
        reading = self.read(batch)
        errors = {ERRORS + self.picture: reading.errors()}
        return {**errors, MAPS + self.map: reading.attended()} if self.map else errors

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        return {"noise": moments.mean(z[ERRORS + self.picture], ranks=Ranks.present())}

    def draw(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int] | None = None,
        steps: int = 12,
        guidance: float = 3.0,
    ) -> Float[Tensor, "n 3 H W"]:
        """Draw a picture of each text, which may have the new words; see `counterpoint.generation.draw_words`."""
        return self.learned.draw(texts, seeds=seeds, steps=steps, guidance=guidance)

    def attention_of_words(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Float[Tensor, "n N s s"]:
        """Return where each word attends on the central squares of pictures, from 0 to 1."""
        prepared = self.inputs[self.picture](check_pictures(pictures)).to(self.learned.base.device)
        return torch.cat([self.learned.attended(some) for some in torch.split(prepared, _AT_ONCE)]).cpu()

    def passes(self) -> dict[str, float]:
        return {"image": 1.0}


def drawn_noise(pictures: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B 3 H W"], Tensor]:
    """Return noise of pictures and its levels, drawn for all ranks on the processor, where all are seeded alike."""
    ranks = Ranks.present()
    counts = ranks.counts(len(pictures), pictures.device)
    here, total = ranks.rows(counts), sum(counts)
    times = torch.randint(STEPS, (total,))[here].to(pictures.device)
    return torch.randn(total, *pictures.shape[1:])[here].to(pictures), times


def painter_of(name: str) -> PaintingNetwork:
    """Return the network of a run of `Painter`, or of a pipeline that it wrote; ``tiny-painter`` is one of these.

    Raises:
        ValueError: for what cannot be read, and another model.
    """
    folder = default_path() if name == NAME else Path(name).expanduser()
    try:
        if name == NAME or (folder / "model_index.json").is_file():
            return PaintingNetwork.load(folder)
        # By name, as rooms import downwards only.
        model = load("counterpoint.models:load")(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"painter={name!r} cannot be read: {error}. Name a run of painter, with --from or in the arm with "
            "from=RUN; a run that has begun needs the same one"
        ) from None
    if not isinstance(model, Painter):
        raise ValueError(f"painter={name!r} is no run of painter: new words are learned from one that draws")
    return model.painter
