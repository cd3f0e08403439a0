"""Finedefics: pictures, descriptions of them and names of their classes are aligned inside a language model."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Natural, NonNegative, Positive
from ..losses import HardNegativesLoss
from ..networks.base import Towers
from ..networks.bridges.base import Given
from ..networks.towers.chat import EXCHANGE, TOKEN
from ..networks.towers.embedder import TextEmbedder, prompt
from ..networks.towers.language import LanguageTower
from ..pairwise import Temperature, moments
from ..pairwise.inputs import dot, upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from ._speaking import SpeakingMethod, TuneImage
from .base import ONCE, Ranges
from .needs import Needs

NAME, WRONG_NAME, WRONG = "name.", "wrong name.", "wrong."
"""Prefixes of the states of class names, and of names and descriptions of hard negatives."""
_BOUNDS = (0.001, 0.5)


class Finedefics(SpeakingMethod):
    """The likelihood of replies, and contrast between pictures, descriptions of them and names of classes.

        o, a, c = nz(h(picture)), nz(h(description)), nz(h(name of the class))
        L = NLL + weight · [½ (o→a + a→o)/τ₁ + ½ (a→c + c→a)/τ₂ + (c→c)/τ₁]

    h is the state of the language model at the last token of a prompt that holds the picture or the text alone.
    x→y is a softmax over all y of the batch. Descriptions and names of hard negatives, ``negatives`` wrong classes a
    row, are further y of o→a, c→a, a→c and c→c, for all rows alike. In c→c a name has itself as its target, so that
    hard negatives and other names are pushed away. No y of the anchor's own class is a negative. Rows without a class
    have the likelihood alone. With ``weight=0`` this is `SFT`.

    The hard negatives of a class are the classes whose pictures are nearest by the cosine of their mean features in
    the picture tower, before the first step. Their descriptions are those of the first example of each.

    The paper has a second stage: ``sft,from=RUN`` on questions about classes.

    Args:
        towers: of pictures, with features of patches, and of conversations; that of texts is not used. Texts are
            descriptions of pictures.
        recipe: unused: an embedding is as wide as the language model.
        target: the label with the classes.
        weight: of the three terms.
        negatives: wrong classes of each row.
        category_target: ``"first"`` has the first name of the batch as the target of all names in c→c, without masks,
            as in the released code. A control.
        temperature: where τ₁ and τ₂ start; learned within [0.001, 0.5].
        bridge, tokens, tune_image: as for `SFT`.

    Raises:
        UnknownNameError: for a bridge that there is none of.
        ValueError: without a label, and for a number of tokens that the bridge cannot give.
        LookupError: for a picture tower without features of patches.

    Source: He et al., "Analyzing and Boosting the Power of Fine-Grained Visual Recognition for Multi-modal Large
    Language Models" (2025), arXiv 2501.15140, and its code, PKU-ICST-MIPL/Finedefics_ICLR2025. There a further end
    token stands in place of a prompt, hard negatives come with the data, and the likelihood is that of requests too.
    """

    family = "speaking"
    papers = ("finedefics",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "talk", "text"))
    learns = ("classes",)
    default_label: ClassVar[str] = "group"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}
    packs: ClassVar[bool] = True
    epoch_start_every = ONCE
    class_names: Tensor
    nearest: Tensor
    descriptions: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: NonNegative = 0.5,
        negatives: Natural = 3,
        category_target: Literal["own", "first"] = "own",
        temperature: Positive = 0.07,
        bridge: str = "linear",
        tokens: int | None = None,
        tune_image: TuneImage | None = None,
    ) -> None:
        self.needs.check(type(self).__name__, {column: tower.modality for column, tower in towers.items()})
        if target is None:
            raise ValueError("finedefics learns classes: name a label with classes, --labels group")
        _, talk, self.text = towers
        language = towers[talk]
        if isinstance(language, LanguageTower):
            towers = {**towers, self.text: TextEmbedder(language, language)}
        super().__init__(towers, bridge, tokens, tune_image)
        self.target, self.weight, self.category_target = target, weight, category_target
        self.register_buffer("class_names", self.inputs[self.text](target.classes), persistent=False)
        count = len(target.classes)
        self.register_buffer("nearest", torch.zeros(count, negatives, dtype=torch.long))  # from 1; 0 is none
        self.register_buffer("descriptions", torch.zeros_like(self.class_names))
        self.of_objects, self.of_categories = (
            HardNegativesLoss(Temperature(temperature, bounds=_BOUNDS)) for _ in range(2)
        )
        if not weight:
            self.of_objects.requires_grad_(False)
            self.of_categories.requires_grad_(False)

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.picture, self.text

    @property
    def shares_space(self) -> bool:
        return True

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Choose the hard negatives of each class, and the descriptions that stand for them."""
        if not self.weight or not self.nearest.numel():
            return
        classes = examples.labels[self.target.label]
        features = examples.map(lambda batch: self.speaker.patches(batch[self.picture]).mean(1)).float()
        texts = examples.map(lambda batch: batch[self.text].flatten(1))
        device = self.nearest.device
        self.nearest.copy_(nearest_classes(features, classes, *self.nearest.shape).to(device) + 1)
        for number in sorted({*classes.tolist()} - {-1}):
            first = texts[int((classes == number).int().argmax())]
            self.descriptions[number] = first.view(self.descriptions.shape[1:]).to(device)

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.picture:
            return self._of_pictures(self.speaker.given(self.speaker.patches(inputs)))
        return super().features(column, inputs)

    def encode(self, batch: Batch) -> Embeddings:
        speaker = self.speaker
        given = speaker.given(speaker.patches(batch[self.picture]))
        z = {self.talk: speaker.log_p(batch[self.talk], given)}
        if not self.weight:
            return z
        own = batch.labels[self.target.label].clamp_min(0)
        wrong = self._wrong(own).clamp_min(0)
        names = self._of_texts(self.class_names[torch.cat([own[:, None], wrong], 1)])
        return {
            **z,
            self.picture: self._of_pictures(given),
            self.text: self.features(self.text, batch[self.text]),
            NAME + self.text: names[:, 0],
            WRONG_NAME + self.text: names[:, 1:],
            WRONG + self.text: self._of_texts(self.descriptions[wrong]),
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {"nll": self.mean_over_tokens(z[self.talk], batch[self.talk])}
        if not self.weight:
            return losses
        classes = batch.labels[self.target.label]
        known = classes >= 0
        o, a, c, wrong_a, wrong_c = (
            F.normalize(upcast(z[name][known]), dim=-1)
            for name in (
                self.picture,
                *(prefix + self.text for prefix in ("", NAME, WRONG, WRONG_NAME)),
            )
        )
        if not sum(Ranks.present().counts(len(o), o.device)):
            zero = 0 * (o.sum() + a.sum() + c.sum())
            return {**losses, "attribute": zero, "category": zero, "names": zero}
        own = classes[known]
        wrong = self._wrong(own)
        counts, hard, none = wrong >= 0, (own, wrong), (own, wrong[:, :0])
        attribute = self.of_objects(o, a, wrong_a, counts, hard) + self.of_objects(a, o, documents=none)
        category = self.of_categories(a, c, wrong_c, counts, hard)
        category = category + self.of_categories(c, a, wrong_a, counts, hard)
        return {
            **losses,
            "attribute": self.weight * attribute / 2,
            "category": self.weight * category / 2,
            "names": self.weight * self._between_names(c, wrong_c, counts, hard),
        }

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        # A picture, a description and a name are read beside the conversation, and two texts of each hard negative.
        more = 3 + 2 * self.nearest.shape[1] if self.weight else 0
        return passes | {"talk": passes["talk"] + more}

    def _wrong(self, own: Int[Tensor, " n"]) -> Int[Tensor, "n M"]:
        """Return the hard negatives of classes, −1 where there are no more."""
        return self.nearest[own] - 1

    def _of_texts(self, texts: Int[Tensor, "B n 3 L"]) -> Float[Tensor, "B n W"]:
        if not texts.numel():
            return self.language.head.weight.new_zeros(*texts.shape[:2], self.language.width)
        return self.features(self.text, texts.flatten(0, 1)).view(*texts.shape[:2], -1)

    def _between_names(
        self,
        c: Float[Tensor, "n W"],
        wrong: Float[Tensor, "n M W"],
        counts: Bool[Tensor, "n M"],
        hard: tuple[Int[Tensor, " n"], Int[Tensor, "n M"]],
    ) -> Float[Tensor, ""]:
        if self.category_target == "own":
            return self.of_objects(c, c, wrong, counts, hard)
        apart = self.of_objects.temperature.scale(dot(c, c) - dot(c, c[:1].expand_as(c)))
        return self.of_objects(c, c, wrong, counts) + moments.mean(apart, ranks=Ranks.present())

    def _of_pictures(self, given: Given) -> Float[Tensor, "B W"]:
        talk = self.language.chat([prompt("")])
        tokens = talk[:, TOKEN, : int((talk[0, EXCHANGE] > 0).sum())].to(self._device)
        return self.speaker.states(tokens.expand(len(given.tokens), -1), given)[:, -1]


def nearest_classes(
    features: Float[Tensor, "N w"], classes: Int[Tensor, " N"], count: int, neighbours: int
) -> Int[Tensor, "C n"]:
    """Return the nearest other classes of each class, by the cosine of mean features; −1 where there are no more.

    Args:
        features: of examples.
        classes: of examples, −1 for none.
        count: of classes.
        neighbours: of each class.

    >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> nearest_classes(features, torch.tensor([0, 1, 2]), 3, 2).tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    means = torch.stack([features[classes == number].mean(0) for number in range(count)])  # NaN for none
    means = F.normalize(means, dim=-1)
    cosines = (means @ means.T).fill_diagonal_(torch.nan).nan_to_num(-torch.inf)
    best = cosines.topk(min(neighbours, count), dim=1)
    chosen = torch.where(best.values.isfinite(), best.indices, -1)
    return F.pad(chosen, (0, neighbours - chosen.shape[1]), value=-1)
