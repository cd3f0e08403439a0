"""The tower, from raw inputs of one modality to one feature vector per example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..types import Fit
from .exported import ExportedTower, Head, NotExportableError, as_trunk, settings_of_timm
from .towers.parts.pixels import Square

Pooling = Literal["end", "first", "mean", "max", "mean_sqrt", "weighted_mean"]
"""From the states of a caption's tokens to one vector: the last's, the first's, their mean, their maximum; their sum by
the root of their number, and their mean weighted by their place, 1 for the first."""


INPUTS = "inputs"
"""The folder of a run where inputs lie that were fitted on its training rows."""


@runtime_checkable
class Input(Protocol):
    """From a raw form (see `counterpoint.modalities.Modality`) to the tensor that a tower takes."""

    def __call__(self, raw: Any, /) -> Tensor: ...


@runtime_checkable
class FittedInput(Protocol):
    """An input that was fitted on training rows, and is kept with the run that fitted it.

    Attributes:
        file: its file's name among the `INPUTS` of a run.
    """

    file: str

    def save(self, path: str | Path) -> None: ...


@runtime_checkable
class StatedInput(Protocol):
    """An input that says all that it does, as a text: two that say the same make the same tensors."""

    def stated(self) -> str: ...


@runtime_checkable
class FormedInput(Protocol):
    """An input for which files are read in a form of its own: sounds at its rate, say.

    Attributes:
        form: the second argument of the modality's ``read`` and ``pack``; the same for inputs that share what was read.
    """

    @property
    def form(self) -> int: ...


@runtime_checkable
class CuttingInput(Protocol):
    """An input of texts that says which of them it cuts."""

    def too_long(self, texts: Sequence[str], /) -> Bool[Tensor, " B"]: ...


@runtime_checkable
class WindowedInput(Protocol):
    """An input of long sequences, of which a tower sees a window at a time.

    Attributes:
        window: places of the raw form (see `counterpoint.raw.Raw.windows`) that are seen at a time.
    """

    @property
    def window(self) -> int: ...


@runtime_checkable
class ScaledInput(Protocol):
    """An input of pictures, which can be smaller than those that the tower takes."""

    def scaled(self, share: float) -> Input:
        """Return the input of pictures of a share of the side."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Captions to token ids: the input of a text tower.

    Attributes:
        context: the most tokens a caption may have, start and end tokens included.
        vocabulary: ids are below this number.
        end: the id of the end token.
    """

    context: int
    vocabulary: int
    end: int

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "B L"]:
        """Return token ids, padded on the right; a caption that is too long is cut and still ends in ``end``."""
        ...

    def too_long(self, captions: Sequence[str]) -> Bool[Tensor, " B"]:
        """Say of each caption whether ``context`` cuts it."""
        ...


class Tower(nn.Module, ABC):
    """One modality's encoder.

    Attributes:
        modality: of what it encodes, by its name in ``counterpoint.modalities``.
        takes_dropout: ``forward`` takes a rate of dropout beside its input.
        takes_prompts: it has `prompted`.
        drops_keys: in training its attention drops keys at the rate ``dropkey``.
        name: as a recipe or an arm names it, its weights after an @; see `pretrained`.
        width: the size of a feature vector.
        frozen: no weight moves, and the tower stays in evaluation mode (dropout, batch statistics) whatever
            its parent does; set by ``tune``.
        untuned: names of linear layers that get no low-rank updates.
        weights_set: the weights are already as the run should start; ``initialise`` leaves them alone.
        projected: features lie in a space that both towers of a pretrained pair share.
        memory: answers in place of a frozen tower with what it said of the same inputs before; None asks the tower.
        read: prompts read its states, so that its inputs are needed at every step and nothing is remembered.
    """

    modality: ClassVar[str]
    takes_dropout: ClassVar[bool] = False
    takes_prompts: ClassVar[bool] = False
    drops_keys: ClassVar[bool] = False
    dropkey: float = 0.0
    name: str = ""
    width: int
    frozen: bool = False
    untuned: ClassVar[tuple[str, ...]] = ()
    weights_set: bool = False
    projected: bool = False
    memory: Callable[[Tower, Tensor], Tensor] | None = None
    read: bool = False

    def __call__(self, inputs: Tensor, **options: float) -> Any:
        """Return features of inputs: from memory where there is one and nothing else is asked for, as dropout is."""
        return (
            self.compute(inputs, **options) if self.memory is None or options else self.memory(self, inputs)
        )

    def compute(self, inputs: Tensor, **options: float) -> Any:
        """Return what `forward` makes of inputs, whatever is remembered."""
        return super().__call__(inputs, **options)

    @property
    @abstractmethod
    def input(self) -> Input:
        """The way from the modality's raw form to what `forward` takes; small, and good in another process."""

    def states(self, inputs: Tensor) -> Float[Tensor, "B t width"]:
        """Return features part by part, before they are pooled; of a tower that knows no parts, those of the whole."""
        return self(inputs)[:, None]

    def prompted(
        self, inputs: Tensor, prompts: Float[Tensor, "P width"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B P width"]]:
        """Return features of inputs, and the states of learned tokens that read those of the inputs in every layer.

        No state of an input sees a prompt: the features are those of `forward`, to the last bit.

        Raises:
            LookupError: for a tower without tokens that prompts could stand beside.
        """
        raise LookupError(f"{type(self).__name__} has no tokens that prompts could stand beside")

    @property
    def core(self) -> Tower:
        """The tower whose weights it computes with, by which towers are told apart: itself, unless another one's."""
        return self

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        """The keys of a recipe's section on towers that its name and the files beside it do not say; none of most."""
        return {}

    @property
    def pretrained(self) -> bool:
        """True where the tower was named with weights to start from."""
        return "@" in self.name

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and not self.frozen)

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the tower and its head in open_clip's words.

        Raises:
            NotExportableError: where it has none for them.
        """
        raise self._not_exportable("open_clip")

    def in_transformers(self, head: Head) -> ExportedTower:
        """Return the tower and its head in transformers' words.

        Raises:
            NotExportableError: where it has none for them.
        """
        raise self._not_exportable("transformers")

    def _not_exportable(self, library: str) -> NotExportableError:
        return NotExportableError(
            f"{library} has no {self.modality} tower like {self.name or type(self).__name__}"
        )


Towers = Mapping[str, Tower]
"""The towers of the columns that a method works on, in this order; columns of one modality share one."""


class PictureStates(NamedTuple):
    """Features of pictures and of their patches, in one space.

    Attributes:
        summary: of a picture, as `ImageTower.forward` reads it from the patches.
        patches: one after the other.
    """

    summary: Float[Tensor, "B width"]
    patches: Float[Tensor, "B n width"]


class ImageTower(Tower, ABC):
    """Pictures to features.

    Attributes:
        takes_masks: it has `encode_visible`.
        size: height and width in pixels of the pictures it takes.
        fit: the way in which the library of its weights makes them; None where they are this package's own.
        kept_in_timm: a built-in tower's name among timm's models; see `counterpoint.interop._in_timm`.
    """

    modality: ClassVar[str] = "image"
    takes_masks: bool = False
    size: int
    fit: Fit | None = None
    kept_in_timm: ClassVar[str] = ""

    @classmethod
    def of_sizes(
        cls, size: int, width: int | None = None, layers: int | None = None, patch: int | None = None
    ) -> Self:
        """Build a built-in tower by the keys of a recipe's section on towers.

        Args:
            size: ``image_size``.
            width: ``image_width``; the tower's own default where it is None, or where the tower has no such size.
            layers: ``image_layers``, alike.
            patch: ``image_patch``, alike.
        """
        return cls(size)

    @property
    def input(self) -> Square:
        return Square(self.size, self.fit)

    def in_timm(self) -> ExportedTower:
        """Return a built-in tower as the model of timm that `counterpoint.interop._in_timm` makes it.

        Raises:
            NotExportableError: for any other, unless its class says more.
        """
        if not self.kept_in_timm:
            raise self._not_exportable("timm")
        settings = settings_of_timm(self.size)
        sizes = {name.removeprefix("image_"): value for name, value in self.sizes.items()}
        # open_clip hands over the name alone, timm the arguments alone.
        named = [f"{name}{value}" for name, value in sizes.items()]
        config = {
            "architecture": ".".join([self.kept_in_timm, str(self.size), *named]),
            **({"model_args": sizes} if sizes else {}),
            "pretrained_cfg": settings,
            "num_features": self.width,
        }
        return ExportedTower(config, {f"tower.{name}": weight for name, weight in self.state_dict().items()})

    def in_open_clip(self, head: Head) -> ExportedTower:
        """Return the tower as a trunk of timm, the head as its projection.

        Raises:
            NotExportableError: for a tower that timm does not have, and pictures that open_clip's transform cannot
                make.
        """
        try:
            trunk = self.in_timm()
        except NotExportableError:
            raise self._not_exportable("open_clip") from None
        return as_trunk(trunk, self.fit or Fit(self.size, self.size), head)

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        """Return features of pictures in [0, 1]; the tower's own normalisation happens here."""

    @torch.no_grad()
    def check_side(self, side: int) -> None:
        """Refuse pictures of another side than `size`, in pixels, where `forward` cannot take them.

        Raises:
            ValueError: for such a side.
        """
        was_training, device = self.training, next(self.parameters()).device
        try:
            self.eval().compute(torch.zeros(1, 3, side, side, device=device))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(
                f"the image tower {self.name or type(self).__name__!r} takes pictures of {self.size} pixels a side, "
                f"and none of {side}: take another tower (image=cnn), or views of full size"
            ) from error
        finally:
            self.train(was_training)

    def patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width h w"]:
        """Return features of the places of pictures, in the space of `forward`'s, before places are pooled.

        Raises:
            LookupError: for a tower that mixes places before its features are what `forward` returns.
        """
        raise LookupError(f"{type(self).__name__} has no features of single places of a picture")

    def patch_levels(
        self, images: Float[Tensor, "B 3 H W"], count: int
    ) -> tuple[Float[Tensor, "B width h w"], ...]:
        """Return features of patches after each of some blocks, which are evenly spread over the depth.

        Args:
            images: pictures in [0, 1].
            count: of blocks. The last are what `patches` returns; those of earlier blocks are not normalised.

        Raises:
            LookupError: for a tower without features of patches between its blocks.
            ValueError: for more than it has blocks.
        """
        raise LookupError(
            f"{type(self).__name__} has no features of patches between its blocks: take image=vit, or levels=1"
        )

    def summary_and_patches(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B width h w"]]:
        """Return what `forward` and `patches` do; a tower that pools by the mean does so in one pass.

        Raises:
            LookupError: for a tower without features of single places.
        """
        return self(images), self.patches(images)

    def encode_visible(
        self,
        images: Float[Tensor, "B 3 H W"],
        index: Int[Tensor, "B k"],
        mask_token: Float[Tensor, " width"] | None = None,
    ) -> PictureStates:
        """Return features computed from some patches of each picture alone.

        Each patch has the position that it has in the whole picture.

        Args:
            images: the whole pictures.
            index: of the visible patches, row by row of the grid.
            mask_token: takes the place of the embedding of every other patch. Then all patches have features, in the
                order of the grid; those of the visible patches alone unless given.

        Raises:
            LookupError: for a tower that cannot leave patches out.
        """
        raise LookupError(f"{type(self).__name__} cannot leave patches of a picture out")


class TextTower(Tower, ABC):
    """Token ids to features.

    Attributes:
        tokenizer: the tokenizer whose ids it takes.
        begins_with_end: whether its captions begin with the end token too.
        masks_words: it reads the mask token, whose id is the tokenizer's ``vocabulary``.
        pooling: how the states of the tokens become one vector; None where the model has its own way. A
            method may set it.
    """

    modality: ClassVar[str] = "text"
    takes_dropout: ClassVar[bool] = True
    tokenizer: Tokenizer
    begins_with_end: bool = False
    masks_words: ClassVar[bool] = False
    pooling: Pooling | None = "end"

    @property
    def input(self) -> Tokenizer:
        return self.tokenizer

    @abstractmethod
    def forward(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B width"]:
        """Return features of captions; ``dropout`` acts on the input of every residual block while training."""

    def states(self, tokens: Int[Tensor, "B L"], dropout: float = 0.0) -> Float[Tensor, "B L width"]:
        """Return features of the tokens of captions, in the space of `forward`'s, before pooling; zero for padding.

        Raises:
            LookupError: for a tower without them.
        """
        raise LookupError(f"{type(self).__name__} has no features of single tokens of a caption")

    @property
    def token_table(self) -> nn.Embedding:
        """The table of the vectors of tokens.

        Raises:
            LookupError: for a tower without one.
        """
        for module in self.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings >= self.tokenizer.vocabulary:
                return module
        raise LookupError(f"{type(self).__name__} has no table of the vectors of tokens")

    def with_vectors(
        self, tokens: Int[Tensor, "B L"], vectors: Float[Tensor, "B M w"], positions: Int[Tensor, "B M"]
    ) -> Float[Tensor, "B width"]:
        """Return features of captions in which given vectors stand in place of those of some tokens, with gradient.

        Args:
            tokens: of the captions. Those that are replaced may be any but the end token.
            vectors: as wide as those of `token_table`.
            positions: of the tokens that the vectors replace.

        Raises:
            LookupError: for a tower without a table of tokens.
        """
        places = positions[..., None].expand_as(vectors)
        handle = self.token_table.register_forward_hook(
            lambda table, inputs, output: output.scatter(1, places, vectors.to(output.dtype))
        )
        try:
            features: Tensor = self.compute(tokens)
        finally:
            handle.remove()
        return features
