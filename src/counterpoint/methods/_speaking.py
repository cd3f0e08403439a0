"""Methods whose model reads a picture and a request, and writes a reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..networks.base import Input, Towers
from ..networks.bridges import BRIDGES
from ..networks.bridges.base import Bridge
from ..networks.experts import MixtureOfExperts
from ..networks.speaker import Speaker, replied
from ..networks.towers.language import LanguageTower
from ..networks.towers.parts.regions import grid
from ..networks.tuning import tune
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..types import Batch, Embeddings
from ._replying import ReplyingMethod
from .needs import Needs
from .tower_method import paired

TuneImage = Literal["full", "lora", "biases", "frozen"]


class SpeakingMethod(ReplyingMethod):
    """A bridge between a tower of pictures and a language model.

    `encode` gives log-probabilities of the tokens of replies, row by row. The embedding of a picture is its tower's
    feature.

    Args:
        towers: of pictures, with features of patches, and of conversations.
        bridge: the name of a bridge (`counterpoint.networks.bridges`).
        tokens: of a picture; the bridge's own number unless given.
        tune_image: what moves of the tower of pictures; nothing of a pretrained one and all of another unless given.
        image_tiles: g: the picture is read as a whole and in g × g tiles of the tower's size.
        options: of the bridge's own; None leaves it to the bridge.

    Attributes:
        packs: it can read several exchanges of a row behind its pictures in a step (``talk_exchanges``).

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: for a number of tokens that the bridge cannot give, for tiles with a bridge that reads none or
            without tiles for one that does, for an option of another bridge, for a language model or a picture tower
            with too few layers, and for several exchanges behind a picture where they cannot be told apart.
        LookupError: for a picture tower without features of patches, or of patches between its layers.
    """

    family = "speaking"
    needs: ClassVar[Needs] = Needs(modalities=("image", "talk"))
    tuned_modalities: ClassVar[tuple[str, ...]] = ("talk",)
    packs: ClassVar[bool] = False

    def __init__(
        self,
        towers: Towers,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
        image_tiles: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(towers)
        kind: type[Bridge] = BRIDGES.get(bridge)
        if kind.fine != (image_tiles > 1):
            raise ValueError(
                f"image_tiles={image_tiles}: bridge={bridge} reads "
                + ("tiles of the picture, so take image_tiles=2" if kind.fine else "the whole picture alone")
            )
        self.tiles = image_tiles
        self.picture, self.talk, *_ = towers
        self.pictures: tuple[str, ...] = (self.picture,)
        self.views = paired(towers)
        image, language = self.image_tower, self.language
        if language.chat.packs and (language.recurrent or not self.packs):
            what = f"the language model {language.name!r}" if self.packs else type(self).__name__
            raise ValueError(
                f"talk_exchanges={language.chat.exchanges}: {what} reads one exchange behind a picture: set it to 1"
            )
        places = grid(image)
        tune(image, tune_image or ("frozen" if image.pretrained else "full"))
        std = float(language.embed(torch.arange(language.chat.vocabulary)[None]).detach().std())
        options = {name: value for name, value in options.items() if value is not None}
        if other := sorted(options.keys() - {*kind.options}):
            raise ValueError(
                f"bridge={bridge} has no option {other[0]}: leave {other[0]}={options[other[0]]} out"
            )
        usual = {"tiles": image_tiles, "layers": len(language.layers)}
        options |= {name: value for name, value in usual.items() if name in kind.options}
        made = kind(image.width, language.width, places, tokens, std, **options)
        if made.level_count > 1:
            with torch.no_grad():  # whether it can
                like = next(image.parameters())
                made.read(image, torch.zeros(1, 3, image.size, image.size).to(like))
        if made.deepest >= len(language.layers):
            raise ValueError(
                f"bridge={bridge} changes the input of layer {made.deepest}, and the language model has "
                f"{len(language.layers)}: give it {made.deepest + 1} (--towers.talk_layers) or fewer tiles"
            )
        # Named as heads are, so that an arm that goes on from a run has its bridge too.
        self.bridge_projections = nn.ModuleDict({self.picture: made})

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture,)

    @property
    def language(self) -> LanguageTower:
        """The language model."""
        tower = self.tower(self.talk)
        if not isinstance(tower, LanguageTower):
            raise LookupError(f"the tower of {self.talk} {tower.name!r} writes no replies; name llama")
        return tower

    @property
    def packed(self) -> bool:
        """Rows hold several exchanges behind one picture, which do not see each other."""
        return self.language.chat.packs

    @property
    def speaker(self) -> Speaker:
        """The picture tower, the bridge and the language model as one."""
        bridge = self.bridge_projections[self.picture]
        assert isinstance(bridge, Bridge)
        return Speaker(self.image_tower, bridge, self.language, self.tiles)

    @property
    def mixtures(self) -> list[MixtureOfExperts]:
        """The mixtures of experts of the bridge, from the first layer on."""
        return [part for part in self.bridge_projections.modules() if isinstance(part, MixtureOfExperts)]

    @property
    def inputs(self) -> Mapping[str, Input]:
        shown = self.image_tower.input
        return {**super().inputs, self.picture: shown.scaled(self.tiles) if self.tiles > 1 else shown}

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture and self.tiles > 1:
            inputs = F.interpolate(inputs, (self.image_tower.size,) * 2, mode="area")
        return super().features(column, inputs)

    def encode(self, batch: Batch) -> Embeddings:
        patches = self._patches_of(batch)
        log_p = self.speaker.log_p(batch[self.talk], self.speaker.given(patches), packed=self.packed)
        return {**self._means(patches), self.talk: log_p}

    def _patches_of(self, batch: Batch, prefix: str = "") -> Float[Tensor, "B n w"]:
        """Return the patches of all pictures of each row, one behind the other."""
        return torch.cat([self.speaker.patches(batch[prefix + column]) for column in self.pictures], 1)

    def _means(self, patches: Float[Tensor, "B n w"]) -> Embeddings:
        """Return the mean of the patches of each column of pictures."""
        parts = patches.chunk(len(self.pictures), 1)
        return {column: of.mean(1) for column, of in zip(self.pictures, parts, strict=True)}

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        modality = self.image_tower.modality
        return passes | {modality: passes[modality] * (1 + self.tiles**2 if self.tiles > 1 else 1)}

    def mean_over_tokens(self, log_p: Float[Tensor, "B L"], talk: Int[Tensor, "B 3 L"]) -> Float[Tensor, ""]:
        """Return the negative log-likelihood of a token, the mean over the replies of all ranks."""
        count = replied(talk).to(log_p.dtype)
        return moments.mean(-log_p.sum(1) / count.clamp_min(1), count, ranks=Ranks.present())

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == self.talk and column not in self.embeds:
            raise ValueError(f"this model writes {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)
