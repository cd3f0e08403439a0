"""The module that sentence-transformers loads where none of its own can hold a model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..data.pictures.single import raw_pictures
from ..methods.tower_method import TowerMethod
from ..models import load


class Encoder(nn.Module):
    """A model of this package as a module of sentence-transformers: texts, and pictures as Pillow opens them.

    A string is a text, whatever it looks like; no file and no address is opened.

    Args:
        model: that embeds.
        folder: which it was loaded from.
    """

    def __init__(self, model: TowerMethod, folder: Path) -> None:
        super().__init__()
        self.model, self.folder = model, folder
        self.max_seq_length = model.context
        columns = {model.tower(column).modality: column for column in reversed(model.embeds)}
        self.columns = dict(reversed(columns.items()))

    @classmethod
    def load(cls, path: str) -> Encoder:
        """Load the folder of an export."""
        return cls(load(path), Path(path))

    def save(self, path: str, *args: Any, **options: Any) -> None:
        """Write the folder as it is: weights that were trained since are not in it."""
        shutil.copytree(self.folder, path, dirs_exist_ok=True)

    @property
    def modalities(self) -> list[str]:
        # The last lets sentence-transformers pass on whatever it is given, as texts that look like an address.
        return [*self.columns, "message"]

    def get_embedding_dimension(self) -> int:
        return self.model.width

    get_sentence_embedding_dimension = get_embedding_dimension

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **options: Any
    ) -> dict[str, Tensor]:
        """Return the inputs of both towers, each with their places among those that were given."""
        features: dict[str, Tensor] = {}
        texts = [index for index, it in enumerate(inputs) if isinstance(it, str)]
        pictures = [index for index, it in enumerate(inputs) if isinstance(it, Image.Image)]
        if len(texts) + len(pictures) < len(inputs):
            raise ValueError("this model embeds texts and pictures (PIL.Image)")
        if texts:
            words = [f"{prompt or ''}{inputs[index]}" for index in texts]
            features |= {"text": self._input("text")(words), "text_places": torch.tensor(texts)}
        if pictures:
            shown = self._input("image")(torch.stack([self._picture(inputs[index]) for index in pictures]))
            features |= {"image": shown, "image_places": torch.tensor(pictures)}
        return features

    tokenize = preprocess

    def forward(self, features: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
        parts, places = [], []
        for modality in ("text", "image"):
            if modality in features:
                column = self.columns[modality]
                of_tower = self.model.features(column, features[modality])
                parts.append(self.model.project(column, of_tower, self.model.heads[0]))
                places.append(features[f"{modality}_places"])
        embeddings = F.normalize(torch.cat(parts), dim=-1)[torch.cat(places).argsort()]
        return {**features, "sentence_embedding": embeddings}

    def _input(self, modality: str) -> Any:
        if modality not in self.columns:
            raise ValueError(f"this model has no {modality} embeddings")
        return self.model.tower(self.columns[modality]).input

    def _picture(self, picture: Image.Image) -> Tensor:
        if "image" not in self.columns:
            raise ValueError("this model has no image embeddings")
        return raw_pictures([picture], self.model.inputs[self.columns["image"]])[0]
