"""ALBEF: contrast aligns two towers, and a joint encoder matches pairs and reads hidden words."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..data.views.captions import NOT_ASKED
from ..forms import Count, Fraction, Natural, NonNegative, Positive, Share
from ..losses import InfoNCELoss, SoftInfoNCELoss
from ..modalities import PAIR_PASSES
from ..networks import KeyQueue, MomentumCopy
from ..networks.base import TextTower, Towers
from ..networks.caption_decoder import ZeroLinear
from ..networks.heads import Linear
from ..networks.state.momentum import PREFIX
from ..pairwise import Temperature
from ..pairwise.inputs import upcast
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Pairs, StepInfo, View
from ._matching import PATCHES, MatchingMethod, Negatives, PairFusion, mean_of_all
from .base import Ranges
from .dual_encoder import linear_heads

MASKED = "masked"
"""The view of texts some of whose words are hidden."""
_RAMP = 1 / 30
"""The share of a run in which α rises from 0: the first of the paper's 30 epochs."""


class ALBEF(MatchingMethod):
    """Vectors are aligned by contrast before the joint encoder fuses words and patches.

        L_contrast = ½ [ℓ(x, k_T) + ℓ(y, k_I)],   ℓ of `SoftInfoNCELoss` against the keys of the batch and a queue
        L_match    = CE over (i, i) → yes, (i, other text) → no, (other picture, i) → no
        L_words    = (1 − α) CE(word) + α CE(softmax of the copy's logits),   over hidden words, read with the picture
        L          = contrast · L_contrast + matching · L_match + words · L_words
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k_I, k_T take the place of the oldest keys

    x and y are the embeddings, k those of a slow copy, which also gives the soft targets: of the contrast by its
    similarities, of hidden words by its logits. Negatives of matching are drawn by the similarities of x with k_T and
    of y with k_I, so that they are hard once the vectors are aligned. α rises from 0 in the first thirtieth of a run.
    In the first steps the queue holds random vectors, and the loss says little.

    Without a queue and with α = 0 no copy is needed: the contrast is InfoNCE between x and y, as in CLIP.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        contrast, matching, words: weights of the terms; with 0 a term is left out.
        alpha: α, how far the copy is believed.
        momentum: m.
        queue: keys of each column's queue (the paper: 65,536); 0 for none.
        negatives: how the negatives of matching are drawn.
        hidden: the share of the tokens that are hidden, rounded to hundredths.
        depth: blocks of the joint encoder (the paper: 6).
        fusion: with ``cross``, as in the paper, words read patches; with ``co`` patches read words too, and with
            ``concat`` all attend to all.
        temperature: where τ of the contrast starts; learned within [0.001, 0.5]. The copy has none of its own.
        backbone: factor of the towers' learning rate.

    Raises:
        LookupError: for an image tower without features of patches.
        ValueError: for a text tower without a mask token, three weights of 0, and negatives by similarities that
            nothing trains.

    Source: Li et al., "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation"
    (2021), arXiv 2107.07651. Blocks are pre-norm, and a text is read at its end token.
    """

    family = "fusion"
    papers = ("albef",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        contrast: NonNegative = 1.0,
        matching: NonNegative = 1.0,
        words: NonNegative = 1.0,
        alpha: Fraction = 0.4,
        momentum: Fraction = 0.995,
        queue: Natural = 1024,
        negatives: Negatives = "similarity",
        hidden: Share = 0.15,
        depth: Count = 2,
        fusion: PairFusion = "cross",
        temperature: Positive = 0.07,
        backbone: Positive = 1.0,
    ) -> None:
        super().__init__(towers, depth=depth, negatives=negatives, fusion=fusion)
        if not (contrast or matching or words):
            raise ValueError("contrast=0, matching=0 and words=0 leave no loss: give one of them a weight")
        if matching and not contrast and negatives == "similarity":
            raise ValueError(
                "negatives=similarity draws by embeddings, which contrast=0 leaves untrained: take negatives=random"
            )
        self.weights = {"contrast": contrast, "matching": matching, "words": words}
        self.alpha = alpha
        self.rates = {} if backbone == 1 else {"towers.": backbone}
        width, reader = recipe.widths.embedding, self.text_tower
        if words:
            masked = View("text", f"masked:{round(100 * hidden)}", self.text, like=self.text)
            self.views = {**self.views, MASKED: masked}
        self.projections = nn.ModuleDict(linear_heads({c: towers[c] for c in self.embeds}, width))
        self.word_head = nn.Sequential(
            Linear(reader.width, reader.width, bias=True),
            nn.GELU(),
            nn.LayerNorm(reader.width),
            ZeroLinear(reader.width, reader.tokenizer.vocabulary),
        )
        learned = Temperature(temperature, bounds=(0.001, 0.5))
        self.copy = self.queues = None
        self.objective: InfoNCELoss | SoftInfoNCELoss = InfoNCELoss(learned)
        if queue or alpha:
            self.objective = SoftInfoNCELoss(learned)
            names = ("towers", "projections", "joint", "word_head")
            self.copy = MomentumCopy(nn.ModuleDict({n: self.get_submodule(n) for n in names}), momentum)
        if queue:
            self.queues = nn.ModuleDict({column: KeyQueue(queue, width) for column in self.embeds})
        unused: list[nn.Module] = [] if contrast else [self.projections, self.objective]
        unused += [] if matching else [self.match_head]
        unused += [] if words else [self.word_head]
        unused += [] if matching or words else [self.joint]
        for part in unused:
            part.requires_grad_(False)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if self.copy is None:
            return {}
        copy = self.copy.module
        z = self.encoded(copy.get_submodule("towers"), batch[self.picture], self.tokens(batch))
        heads = copy.get_submodule("projections")
        keys = {
            PREFIX + column: F.normalize(heads.get_submodule(self.columns[column])(z[column]), dim=-1)
            for column in self.embeds
        }
        if self.weights["words"] and self.alpha:
            keys[PREFIX + MASKED] = self.read_masked(copy, z, batch)
        return keys

    def encode(self, batch: Batch) -> Embeddings:
        z = super().encode(batch)
        if self.weights["words"]:
            z[MASKED] = self.read_masked(self, z, batch)
        return z

    def read_masked(self, network: nn.Module, z: Embeddings, batch: Batch) -> Float[Tensor, "B L W"]:
        """Return the states of hidden texts, read with their pictures, by this or the copy's towers."""
        reader = network.get_submodule("towers").get_submodule(self.columns[self.text])
        assert isinstance(reader, TextTower)
        words = reader.states(batch[MASKED][:, 0])
        return network.get_submodule("joint")(words, z[PATCHES + self.picture])

    def embedded(self, z: Embeddings) -> tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]:
        """Return the unit-norm embeddings x of pictures and y of texts."""
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.embeds)
        return x, y

    def closeness(self, z: Embeddings) -> tuple[Float[Tensor, "B B"], Float[Tensor, "B B"]]:
        x, y = self.embedded(z)
        k_x, k_y = (z.get(PREFIX + c, own) for c, own in zip(self.embeds, (x, y), strict=True))
        scale = self.objective.temperature.scale
        return scale(x) @ k_y.T, scale(y) @ k_x.T

    def pairs(self, z: Embeddings, batch: Batch) -> Pairs:
        return super().pairs(z, batch) if self.weights["matching"] else {}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        alpha = self.alpha * min(clock.progress / _RAMP, 1.0)
        losses = {}
        if weight := self.weights["contrast"]:
            losses["contrast"] = weight * self.contrast(z, alpha)
        if weight := self.weights["matching"]:
            losses["matching"] = weight * self.matching(z)
        if weight := self.weights["words"]:
            losses["words"] = weight * self.hidden_words(z, batch, alpha)
        return losses

    def contrast(self, z: Embeddings, alpha: float) -> Float[Tensor, ""]:
        """Return the contrast of embeddings with keys, the mean of both directions."""
        x, y = self.embedded(z)
        if not isinstance(self.objective, SoftInfoNCELoss):
            return self.objective(x, y)
        both = []
        for q, of, to in ((x, self.picture, self.text), (y, self.text, self.picture)):
            queue = q[:0] if self.queues is None else self.queues.get_submodule(to).keys
            both.append(self.objective(q, z[PREFIX + to], z[PREFIX + of], queue, alpha))
        return torch.stack(both).mean()

    def hidden_words(self, z: Embeddings, batch: Batch, alpha: float) -> Float[Tensor, ""]:
        """Return the cross-entropy of hidden words, the mean over those of all ranks."""
        asked = batch[MASKED][:, 1]
        where = asked != NOT_ASKED
        logits = upcast(self.word_head(z[MASKED][where]))
        wrong = F.cross_entropy(logits, asked[where], reduction="none")
        if alpha:
            assert self.copy is not None
            with torch.no_grad():
                soft = upcast(self.copy.module.get_submodule("word_head")(z[PREFIX + MASKED][where])).softmax(
                    1
                )
            wrong = (1 - alpha) * wrong - alpha * (soft * logits.log_softmax(1)).sum(1)
        return mean_of_all(wrong)

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.copy is not None:
            # The copy moves before the next keys.
            self.copy.update()
        for column, queue in ({} if self.queues is None else dict(self.queues.items())).items():
            assert isinstance(queue, KeyQueue)
            queue.enqueue(z[PREFIX + column], batch.ids)

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        words, copied = bool(self.weights["words"]), self.copy is not None
        passes = {name: count * (1 + copied) for name, count in passes.items()}
        passes[PAIR_PASSES] = (3 if self.weights["matching"] else 0) + words * (
            1 + (copied and self.alpha > 0)
        )
        return passes
