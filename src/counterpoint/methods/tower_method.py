"""Methods with a tower for each column: what most of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..modalities import MODALITIES, resolve
from ..networks.base import ImageTower, Input, TextTower, Tower, Towers, WindowedInput
from ..networks.fingerprint import fingerprint
from ..networks.regions import check_boxes, in_central_square, pool_boxes
from ..networks.towers.parts.pixels import fitted
from ..pairwise import Temperature
from ..raw import Raw, check_pictures
from ..registry import unknown
from ..types import Batch, Embeddings, Fit, View
from .base import Method

SomeTower = TypeVar("SomeTower", bound=Tower)
_AT_ONCE = 256
"""Examples of a list that go through a tower together, at most."""


class TowerMethod(Method):
    """A method with a tower for each column it takes, and heads into a shared space: the base of most methods here.

    Columns of one modality share a tower, and with it a head; so do columns of two modalities where the tower of one
    computes with that of the other (`Tower.core`). A tower and its head bear the name of the first column that they are
    of, in ``towers``, in ``projections``, and in a run's checkpoint.

    Args:
        towers: by column; the method works on these columns, in this order.

    Attributes:
        continues: names of modules that an arm with ``from=RUN`` takes over from the run, beside towers and heads.
        consults: it shows its batches to another model as well, which needs what its own towers may remember.
        columns: each column with the name of its tower and head.
        projections: the heads, by name, of methods that have one for each tower.
        reference: how `counterpoint.load` found it, with paths from the root; empty for one that it did not load.
        dropout: rate at which training drops features within a text tower.

    Raises:
        ValueError: for columns that the method does not take.
    """

    continues: ClassVar[tuple[str, ...]] = ()
    consults: ClassVar[bool] = False
    projections: nn.ModuleDict
    reference: str = ""
    dropout: float = 0.0

    def __init__(self, towers: Towers) -> None:
        super().__init__()
        self.needs.check(type(self).__name__, {column: tower.modality for column, tower in towers.items()})
        # By identity: two towers of one kind are two, and one that serves two columns is one.
        names = {id(tower): name for name, tower in distinct(towers).items()}
        self.columns = {column: names[id(tower.core)] for column, tower in towers.items()}
        self.towers = nn.ModuleDict(distinct(towers))
        # Other ways to towers that are held already: a plain dictionary, so that no weight is held twice.
        self._ways = {column: tower for column, tower in towers.items() if tower.core is not tower}
        self.projections = nn.ModuleDict()

    def tower(self, column: str) -> Tower:
        """Return the tower of a column."""
        tower = self._ways.get(column) or self.towers[self.columns[column]]
        assert isinstance(tower, Tower)
        return tower

    def use_input_alone(self, *columns: str) -> None:
        """Leave the towers of some columns out of the modules: their inputs are used, and a run has no weights of them.

        A tower that serves further columns goes for these, too, so that all of them are to be named.
        """
        self._ways |= {column: self.tower(column) for column in columns}
        for name in {self.columns[column] for column in columns}:
            self.towers.pop(name)

    @property
    def image_tower(self) -> ImageTower:
        """The tower of pictures, for what is about pictures alone: patches, attention, regions.

        Raises:
            LookupError: for a method without one.
        """
        return self._of_kind(ImageTower, "pictures")

    @property
    def text_tower(self) -> TextTower:
        """The tower of texts, for what is about words alone.

        Raises:
            LookupError: for a method without one.
        """
        return self._of_kind(TextTower, "texts")

    def _of_kind(self, kind: type[SomeTower], noun: str) -> SomeTower:
        for tower in self.towers.values():
            if isinstance(tower, kind):
                return tower
        raise LookupError(f"{type(self).__name__} on {', '.join(self.columns)} has no tower of {noun}")

    @property
    def embeds(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns that it embeds by a tower of another model and does not train on."""
        return ()

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {column: self.tower(column).input for column in self.columns}

    @property
    def width(self) -> int:
        """The size of an embedding of the first head."""
        # Asked of the head itself, in evaluation mode: in training a batch norm refuses a single example.
        column, tower = next((column, self.tower(column)) for column in self.columns)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            with torch.no_grad():
                return self.project(column, torch.zeros(1, tower.width, device=device), self.heads[0]).shape[
                    -1
                ]
        finally:
            self.train(was_training)

    @property
    def picture_size(self) -> int | None:
        """Height and width in pixels of the pictures that it takes; None where it takes none."""
        sizes = (tower.size for tower in self.towers.values() if isinstance(tower, ImageTower))
        return next(sizes, None)

    @property
    def context(self) -> int | None:
        """The most tokens of a text that it reads; None where it takes no texts."""
        contexts = (tower.tokenizer.context for tower in self.towers.values() if isinstance(tower, TextTower))
        return next(contexts, None)

    @property
    def shares_space(self) -> bool:
        """True where embeddings of one modality can be compared with those of another."""
        return len({self.tower(column).modality for column in self.columns}) > 1

    @cached_property
    def fingerprint(self) -> str:
        """A digest of weights, preprocessing and tokenizers, as they are when it is first asked for."""
        return fingerprint(self, self.inputs)

    def encode(self, batch: Batch) -> Embeddings:
        return {name: self.features(view.column, batch[name]) for name, view in self.views.items()}

    def encode_by_size(self, batch: Batch) -> Embeddings:
        """Return what `encode` does, from one pass of a tower for all views of a column that are of one size.

        Faster, and the same but for rounding; batch norms of a tower see all these views at once.
        """
        together: dict[tuple[str, ...], list[str]] = {}
        for name, view in self.views.items():
            together.setdefault((view.column, *map(str, batch[name].shape[1:])), []).append(name)
        features: Embeddings = {}
        for (column, *_), names in together.items():
            of_all = self.features(column, torch.cat([batch[name] for name in names]))
            features |= zip(names, torch.split(of_all, [len(batch)] * len(names)), strict=True)
        return features

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return the feature vectors that the heads read: the tower's, of a column's inputs."""
        return self.tower(column)(inputs)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        """Return one head's embedding of a column's features (``losses`` uses the same heads), not yet normalised.

        A method without heads returns the features themselves.
        """
        name = self.columns[column]
        return self.projections[name](features) if name in self.projections else features

    @torch.no_grad()
    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(n, d)`` of examples of a column.

        A picture is a path, a picture of Pillow, an array ``(H, W, 3)`` or a tensor ``(3, H, W)`` of bytes; a sound is
        a path, or an array ``(T,)`` at the tower's rate; a text is a string. One example, or a list of them, is given;
        one alone gives ``(1, d)``. A column's raw form (`counterpoint.modalities.Modality`) is taken too: a uint8
        tensor ``(n, 3, H, W)``, ``cp.Waves``, ``cp.Series``. Of a sound or a series that is longer than its tower sees
        at once, the embedding is the mean of those of windows that are evenly spread over it.

        Raises:
            UnknownNameError: for a column or a head the method does not have.
            FileNotFoundError: for a path without a file.
            ValueError: for inputs that are not of the column's modality, or for none.
        """
        if column not in self.columns:
            # The likeliest mistake: a model of pictures alone is asked for texts.
            if column in MODALITIES and len(self.columns) == 1:
                raise ValueError(
                    f"this model was trained on {self.embeds[0]}s alone: it has no {column} embeddings"
                )
            raise unknown("column", column, self.columns)
        tower = self.tower(column)
        accepts = MODALITIES.get(tower.modality).accept is not None
        if accepts and isinstance(inputs, list | tuple) and len(inputs) > _AT_ONCE:
            starts = range(0, len(inputs), _AT_ONCE)
            return torch.cat([self.embed(column, inputs[n : n + _AT_ONCE], head) for n in starts])
        raw = self.raw_inputs(column, inputs)
        device = next(self.parameters()).device
        if isinstance(raw, Raw) and isinstance(tower.input, WindowedInput):
            return self._embed_windows(column, raw, tower.input.window, head)
        return self.embed_prepared(
            column, tower.input(raw.to(device) if isinstance(raw, Tensor) else raw), head
        )

    def raw_inputs(self, column: str, inputs: Any) -> Any:
        """Return inputs as `embed` takes them in the raw form of a column's modality.

        Raises:
            FileNotFoundError: for a path without a file.
            ValueError: for inputs that are not of the modality, or for none.
        """
        tower = self.tower(column)
        modality = MODALITIES.get(tower.modality)
        if modality.accept is not None:
            inputs = resolve(modality.accept)(inputs, tower.input)
        return resolve(modality.check)(inputs)

    @torch.no_grad()
    def zero_shot(
        self, pictures: Any, labels: Sequence[str], templates: Sequence[str] = ("{}",)
    ) -> Float[Tensor, "n k"]:
        """Return the probability of each label for each picture: the softmax of scaled similarities to the labels.

        The similarity to a label is the mean over the templates. The scale is the one that the model was trained with,
        1/0.07 for a model without one.

        Args:
            pictures: as for `embed`.
            labels: two or more texts.
            templates: texts with ``{}`` in the place of the label, such as ``"a photo of a {}"``.

        Raises:
            LookupError: for a model without a tower of pictures or of texts.
            ValueError: for fewer than two labels, and a template without ``{}``.
        """
        columns = []
        for kind in (self.image_tower, self.text_tower):
            columns.append(next(column for column in self.columns if self.tower(column).core is kind.core))
        if isinstance(labels, str) or len(labels) < 2:
            raise ValueError("zero_shot takes a list of two or more labels")
        if broken := [template for template in templates if "{}" not in template]:
            raise ValueError(f"the template {broken[0]!r} has no {{}} in the place of the label")
        texts = [template.replace("{}", label) for label in labels for template in templates]
        similarity = self.similarity(self.embed(columns[0], pictures), self.embed(columns[1], texts))
        of_labels = similarity.view(-1, len(labels), len(templates)).mean(2)
        scale, _ = scale_of(self) or (1 / 0.07, None)
        return (scale * of_labels).softmax(-1)

    def _embed_windows(self, column: str, raw: Raw, window: int, head: str) -> Tensor:
        (_, first), *others = raw.windows(window)
        z = self.embed_prepared(column, self.inputs[column](first), head)
        for rows, part in others:
            z[rows.to(z.device)] += self.embed_prepared(column, self.inputs[column](part), head)
        return F.normalize(z, dim=-1) if others else z

    @torch.no_grad()
    def embed_prepared(self, column: str, prepared: Tensor, head: str = "default") -> Tensor:
        """Return unit-norm embeddings ``(n, d)`` of what the column's input, ``inputs[column]``, made of its raw form.

        Raises:
            UnknownNameError: for a head the method does not have.
        """
        head = self.heads[0] if head == "default" else head
        if head not in self.heads:
            raise unknown("head", head, self.heads)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            return F.normalize(self.project(column, self.features(column, prepared.to(device)), head), dim=-1)
        finally:
            self.train(was_training)

    @torch.no_grad()
    def patch_features(
        self, pictures: UInt8[Tensor, "n 3 H W"], side: int | None = None
    ) -> Float[Tensor, "n w h v"]:
        """Return the image tower's features of patches, without a head, in evaluation mode.

        The whole central square of a picture is resized: a tower's own crop would leave out places at its border.

        Args:
            pictures: of any size.
            side: that they are resized to, in pixels; the tower's own unless given.

        Raises:
            LookupError: if the image tower has no features of single places.
            ValueError: for a side that the tower cannot take.
        """
        pictures, tower = check_pictures(pictures), self.image_tower
        side = side or tower.size
        if side != tower.size:
            tower.check_side(side)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            return tower.patches(fitted(pictures.to(device), Fit(side, side)))
        finally:
            self.train(was_training)

    @torch.no_grad()
    def embed_patches(
        self, pictures: UInt8[Tensor, "n 3 H W"], head: str = "default"
    ) -> Float[Tensor, "n d h w"]:
        """Return unit-norm embeddings of the places of pictures, to be compared with embeddings of phrases.

        The head is applied to each of the `patch_features`.

        Raises:
            UnknownNameError: for a head the method does not have.
            LookupError: if the image tower has no features of single places.
        """
        maps = self.patch_features(pictures)
        places = self._embed_features(maps.permute(0, 2, 3, 1).flatten(0, 2), head)
        return places.view(len(maps), *maps.shape[2:], -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def embed_regions(
        self,
        pictures: UInt8[Tensor, "n 3 H W"],
        boxes: Float[Tensor, "n k 4"],
        head: str = "default",
        side: int | None = None,
    ) -> Float[Tensor, "n k d"]:
        """Return unit-norm embeddings of boxes of pictures, to be compared with embeddings of phrases.

        The head is applied to the mean of the `patch_features` over a box. For a tower that pools by the mean the box
        of a whole square picture has the picture's embedding.

        Args:
            pictures: of any size.
            boxes: left, top, right and bottom in shares of the sides; NaN where there is no box.
            head: that embeds.
            side: in pixels, that pictures are resized to; the tower's own unless given.

        Returns:
            The embeddings; NaN for a box of NaN, and for one outside the central square of its picture.

        Raises:
            UnknownNameError: for a head the method does not have.
            LookupError: if the image tower has no features of single places.
            ValueError: for boxes that are empty, flipped or outside, and a side that the tower cannot take.
        """
        boxes = in_central_square(check_boxes(boxes, len(pictures)), *pictures.shape[2:])
        pooled = self.region_features(self.patch_features(pictures, side), boxes)
        z = self._embed_features(pooled.flatten(0, 1), head)
        return z.view(*pooled.shape[:2], z.shape[1])

    def region_features(
        self, maps: Float[Tensor, "n w h v"], boxes: Float[Tensor, "n k 4"]
    ) -> Float[Tensor, "n k d"]:
        """Return the features of boxes that the head of pictures reads: the means of the features of patches."""
        return pool_boxes(maps, boxes)

    def _embed_features(self, features: Float[Tensor, "m w"], head: str) -> Float[Tensor, "m d"]:
        """Return unit-norm embeddings of features of the image tower, in evaluation mode."""
        head = self.heads[0] if head == "default" else head
        if head not in self.heads:
            raise unknown("head", head, self.heads)
        column = next(name for name, tower in self.towers.items() if isinstance(tower, ImageTower))
        was_training = self.training
        self.eval()
        try:
            return F.normalize(self.project(column, features, head), dim=-1)
        finally:
            self.train(was_training)


def distinct(towers: Towers) -> dict[str, Tower]:
    """Return each tower once, by the name of the first column that it is of."""
    first: dict[int, str] = {}
    for column, tower in towers.items():
        first.setdefault(id(tower.core), column)
    return {name: towers[name].core for name in first.values()}


def paired(towers: Towers) -> dict[str, View]:
    """Return a view of each column that keeps what an example says; the views bear the columns' names.

    Those of what is said of pictures pixel by pixel are like the view of the first column of pictures.
    """
    firsts = {tower.modality: column for column, tower in reversed([*towers.items()])}
    return {
        column: View(
            tower.modality,
            (modality := MODALITIES.get(tower.modality)).paired,
            column,
            like=firsts.get(modality.located_in, ""),
        )
        for column, tower in towers.items()
    }


def contrasted(column: str, tower: Tower, count: int) -> dict[str, View]:
    """Return views of one column to be contrasted with each other, named ``column.1`` and so on."""
    view = View(tower.modality, MODALITIES.get(tower.modality).contrasted, column)
    return {f"{column}.{number}": view for number in range(1, count + 1)}


def scale_of(model: nn.Module) -> tuple[float, float | None] | None:
    """Return the scale and the bias of similarities that a model was trained with; None for one without a loss."""
    for part in model.modules():
        scale = next((child for child in part.children() if isinstance(child, Temperature)), None)
        if scale is not None:
            bias = getattr(part, "bias", None)
            shift = float(bias.detach()) if isinstance(bias, nn.Parameter) else None
            return float(scale.inverse().detach()), shift
    return None
