"""PRIOR: patches and sentences are aligned, and pictures give the prototypes of a report's sentences as a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..data.views.captions import split_sentences
from ..forms import Count, NonNegative, Positive
from ..losses import InfoNCELoss
from ..networks.attention_pooling import MeanQueryPooler
from ..networks.base import Towers
from ..networks.fusion.joint_encoder import JointEncoder
from ..networks.fusion.sigmoid_attention import SigmoidAttention
from ..networks.heads import Linear
from ..networks.map_decoder import MapDecoder
from ..networks.masking import drawn_for_batch
from ..networks.prototype_bank import PrototypeBank, gumbel_noise
from ..networks.towers.parts.regions import grid
from ..networks.towers.transformer import Embedding
from ..pairwise import Temperature, moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Stage, StepInfo
from ._sentences import SentenceSplitter, sentence_means
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, paired

ALIGN, PROTOTYPES, GENERATE = "align", "prototypes", "generate"
LOCAL, REBUILT = "local.", "rebuilt."
"""Prefixes of terms of the loss of each example that bear the name of the pictures."""
BANK, SET, KL, WRITTEN = "bank.", "set.", "kl.", "written."
"""Prefixes of those that bear the name of the texts, the last being the vector of the report that is generated."""
Order = Literal["set", "fixed"]
"""Ways in which generated sentences meet those of a report: the best assignment, or the first with the first."""
_HIDDEN = 0.5
"""The share of the channels that the decoder of pictures does not see."""
_SHORT = 1e-2
"""The least norm of a vector of a patch, as a cosine takes it."""
_AT_ONCE = 256


class PRIOR(TowerMethod):
    """Pictures and reports are aligned as wholes and by patch and sentence, then rebuilt from each other.

        v = W_v patches,   s_j = W_s mean of the words of sentence j,   x = pooled patches,   y = pooled {s_j}
        c_v, c_s = `SigmoidAttention` between v and s
        L_v = −½ mean_p [cos(h(v_p), sg(c_v,p)) + cos(h(c_v,p), sg(v_p))]
        L_s = InfoNCE(s_j, c_s,j) among the sentences of one report
        L_bank = mean |u' − u|,   L_picture = mean |decoder(v, c_v) − picture|,   L_set = mean |o_π − u'|
        L_kl = KL(softmax(u Eᵀ) ‖ softmax(o_π Eᵀ)),   L_written = InfoNCE(pooled {o'_j}, y)

        align:       InfoNCE(x, y) + L_v + L_s
        prototypes:  the same of s = u', the mixtures of prototypes E of a `PrototypeBank`, + 10 L_bank
        generate:    10 InfoNCE(x, y) + L_v + L_s + 10 L_bank + L_picture + 10 L_set + L_kl + L_written

    u are the sentences before the bank, and o the vectors that n learned queries make of the patches. They meet u',
    with zero vectors behind the last sentence, by the assignment π of least cost (``order=set``). Patches have no
    negatives, as their fields of view overlap; those of a sentence are of its own report, as other reports say the
    same. A report of one sentence has no L_s. The picture is rebuilt from v without half of its channels.

    The three stages have 20, 30 and 100 parts of the steps. `name_sentences` says which sentences a picture gives. In
    use the bank has no noise.

    Args:
        towers: of pictures, with features of patches, and of texts, with states of tokens.
        recipe: gives the width of the vectors.
        prototypes: of the bank.
        queries: n; later sentences of a report are cut.
        depth: blocks of the decoder of sentences (the paper: 8).
        order: ``"fixed"`` compares the generated vectors with the sentences in their order.
        picture: weight of L_picture; with 0 no picture is rebuilt.
        tau: of the bank.
        temperature: where both temperatures start; learned without bounds.

    Raises:
        LookupError: for towers without features of patches or of tokens.

    Source: Cheng et al., "PRIOR: Prototype Representation Joint Learning from Medical Images and Reports" (2023), arXiv
    2307.12577, and its code. There features of patches are reshaped where they should be transposed, outputs are
    ordered by the inverse of the assignment, and the bank has noise in evaluation. Decoders are pre-norm here, and that
    of pictures normalises groups of channels, not batches.
    """

    family = "fusion"
    papers = ("prior",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        prototypes: Count = 512,
        queries: Count = 16,
        depth: Count = 2,
        order: Order = "set",
        picture: NonNegative = 1.0,
        tau: Positive = 0.9,
        temperature: Positive = 0.1,
    ) -> None:
        super().__init__(towers)
        self.picture, self.text = towers
        self.views = paired(towers)
        self.count, self.order, self.picture_weight = queries, order, picture
        width, tower = recipe.widths.embedding, self.image_tower
        self.grid = grid(tower)
        patches, heads = math.prod(self.grid), math.gcd(width, 8)
        self.splitter = SentenceSplitter(self.text_tower.tokenizer)
        self.patch_head, self.sentence_head = Linear(tower.width, width), Linear(self.text_tower.width, width)
        self.picture_pooler = MeanQueryPooler(tower.width, math.gcd(tower.width, 8), patches)
        self.report_pooler = MeanQueryPooler(width, heads)
        self.projections = nn.ModuleDict({self.picture: Linear(tower.width, width)})
        self.objective = InfoNCELoss(Temperature(temperature))
        self.attention = SigmoidAttention(width)
        self.local_temperature = Temperature(temperature)
        self.predictor = nn.Sequential(
            Linear(width, width // 2, bias=True), nn.ReLU(), Linear(width // 2, width, bias=True)
        )
        self.bank = PrototypeBank(prototypes, width, tau)
        self.queries = Embedding(queries, width, std=1.0)
        self.sentence_decoder = JointEncoder(width, width, patches, depth, heads)
        self.picture_decoder = MapDecoder(2 * width, self.grid, tower.size) if picture else None
        aligned = (
            *("towers", "patch_head", "sentence_head", "picture_pooler", "report_pooler", "projections"),
            *("objective", "attention", "local_temperature", "predictor"),
        )
        self.stages = (
            Stage(ALIGN, 20, aligned),
            Stage(PROTOTYPES, 30, (*aligned, "bank")),
            Stage(GENERATE, 100),
        )
        self._stage = GENERATE

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the noise of the bank and the channels that the decoder of pictures sees."""
        self._stage = clock.stage or GENERATE
        if self._stage == ALIGN:
            return batch
        count, (prototypes, width) = self.count, self.bank.prototypes.weight.shape

        def draw(examples: int) -> Tensor:
            noise = gumbel_noise(examples, 2 * count * prototypes)
            return torch.cat([noise, torch.rand(examples, width)], 1)

        drawn = drawn_for_batch(len(batch), batch.ids.device, draw)
        noise, channels = torch.split(drawn, [2 * count * prototypes, width], 1)
        views = {"noise": noise.view(len(batch), 2, count, prototypes), "channels": channels}
        return replace(batch, views={**batch.views, **views})

    def encode(self, batch: Batch) -> Embeddings:
        patches = self.image_tower.patches(batch[self.picture]).flatten(2).mT
        v = self.patch_head(patches)
        u, real = self.sentences(batch[self.text])
        z = {self.picture: self.picture_pooler(patches)}
        noise = None if self._stage == ALIGN else batch["noise"]
        s = u
        if noise is not None:
            s = self.bank(u, noise[:, 0])
            z[BANK + self.text] = summed((s - u).abs().mean(2), real)
        z[self.text] = self.report_pooler(s, real)
        c_v, c_s = self.attention(v, s, real)
        z[LOCAL + self.picture] = torch.stack(
            [self.patch_loss(v, c_v), self.sentence_loss(s, c_s, real), (real.sum(1) > 1).to(v)], 1
        )
        if self._stage != GENERATE or noise is None:
            return z
        if self.picture_decoder is not None:
            seen = (batch["channels"] >= _HIDDEN).to(v)[:, None] / (1 - _HIDDEN)
            both = torch.unflatten(torch.cat([v * seen, c_v], 2).mT, 2, self.grid)
            z[REBUILT + self.picture] = (
                (self.picture_decoder(both) - batch[self.picture]).abs().mean((1, 2, 3))
            )
        targets = s * real[..., None]
        outputs = self.generated(v)
        matched = outputs if self.order == "fixed" else assigned(outputs, targets)
        z[SET + self.text] = upcast(matched - targets).abs().mean((1, 2))
        true, said = (upcast(self.bank.scores(vectors)).log_softmax(2) for vectors in (u, matched))
        z[KL + self.text] = summed((true.exp() * (true - said)).sum(2), real)
        z[WRITTEN + self.text] = self.report_pooler(self.bank(matched, noise[:, 1]), real)
        return z

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ranks, generates = Ranks.present(), SET + self.text in z
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        of_patches, of_sentences, several = z[LOCAL + self.picture].unbind(1)
        losses = {
            "contrast": (10 if generates else 1) * self.objective(x, y),
            "patches": moments.mean(of_patches, ranks=ranks),
            "sentences": moments.mean(of_sentences, several.detach(), ranks=ranks),
        }
        if BANK + self.text in z:
            losses["bank"] = 10 * mean_of_sentences(z[BANK + self.text])
        if generates:
            losses["set"] = 10 * moments.mean(z[SET + self.text], ranks=ranks)
            losses["kl"] = mean_of_sentences(z[KL + self.text])
            losses["written"] = self.objective(F.normalize(z[WRITTEN + self.text], dim=-1), y)
        if REBUILT + self.picture in z:
            losses["picture"] = self.picture_weight * moments.mean(z[REBUILT + self.picture], ranks=ranks)
        return losses

    def sentences(self, tokens: Int[Tensor, "B L"]) -> tuple[Float[Tensor, "B K D"], Bool[Tensor, "B K"]]:
        """Return the vectors of the sentences of texts before the bank, and which there are."""
        words = self.sentence_head(self.text_tower.states(tokens))
        return sentence_means(words, self.splitter(tokens), self.count)

    def generated(self, v: Float[Tensor, "B P D"]) -> Float[Tensor, "B K D"]:
        """Return the vectors that the queries make of patches."""
        outputs = self.sentence_decoder(self.queries.weight.to(v).expand(len(v), -1, -1), v)
        assert isinstance(outputs, Tensor)
        return outputs

    def patch_loss(self, v: Float[Tensor, "B P D"], c_v: Float[Tensor, "B P D"]) -> Float[Tensor, " B"]:
        """Return L_v of each picture."""
        pairs = ((v, c_v), (c_v, v))
        # The predictor maps zero to zero at the start, where a cosine has a gradient of one by its least norm.
        cosines = [F.cosine_similarity(self.predictor(a), b.detach(), dim=-1, eps=_SHORT) for a, b in pairs]
        return -torch.stack(cosines).mean((0, 2))

    def sentence_loss(
        self, s: Float[Tensor, "B K D"], c_s: Float[Tensor, "B K D"], real: Bool[Tensor, "B K"]
    ) -> Float[Tensor, " B"]:
        """Return L_s of each report: the mean over its sentences and both directions; 0 of a report without any."""
        logits = self.local_temperature.scale(F.normalize(s, dim=-1)) @ F.normalize(c_s, dim=-1).mT
        logits = upcast(logits)
        both = []
        for scores in (logits, logits.mT):
            # The least number in place of −∞, with which rows without any sentence would have no gradient.
            own = scores.masked_fill(~real[:, None], torch.finfo(scores.dtype).min).log_softmax(2)
            both.append(-torch.where(real, own.diagonal(dim1=1, dim2=2), 0.0).sum(1))
        return torch.stack(both).mean(0) / real.sum(1).clamp_min(1)

    def features(self, column: str, inputs: Tensor) -> Tensor:
        """Return pooled patches of pictures, and reports as pooled prototypes."""
        if column == self.picture:
            return self.picture_pooler(self.image_tower.patches(inputs).flatten(2).mT)
        u, real = self.sentences(inputs)
        return self.report_pooler(self.bank(u), real)

    @torch.no_grad()
    def name_sentences(self, pictures: Any, sentences: Sequence[str]) -> list[list[int]]:
        """Return which of some sentences each picture gives: those nearest to what its queries make of it.

        A vector that is nearer to zero than to the prototypes of all sentences gives none. Distances are L1, as in
        training. A text of several sentences stands for its first.

        Args:
            pictures: as for `embed`.
            sentences: to choose from.
        """
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            tokens = self.text_tower.tokenizer([(split_sentences(text) or [text])[0] for text in sentences])
            parts = [
                self.bank(self.sentences(part.to(device))[0][:, 0]) for part in torch.split(tokens, _AT_ONCE)
            ]
            known = torch.cat([torch.zeros_like(parts[0][:1]), *parts])
            raw = self.raw_inputs(self.picture, pictures)
            prepared = self.inputs[self.picture](raw.to(device))
            named: list[list[int]] = []
            for part in torch.split(prepared, _AT_ONCE):
                patches = self.image_tower.patches(part.to(device)).flatten(2).mT
                nearest = torch.cdist(self.generated(self.patch_head(patches)), known, p=1).argmin(2)
                named += [sorted({number - 1 for number in of_one if number}) for of_one in nearest.tolist()]
            return named
        finally:
            self.train(was_training)


def assigned(outputs: Float[Tensor, "B K D"], targets: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
    """Return outputs in the order of the targets that they are assigned to, at the least sum of L1 distances.

    >>> assigned(torch.tensor([[[5.0], [0.0], [9.0]]]), torch.tensor([[[0.0], [9.0], [5.0]]])).flatten().tolist()
    [0.0, 9.0, 5.0]
    """
    from scipy.optimize import linear_sum_assignment

    costs = torch.cdist(upcast(outputs.detach()), upcast(targets.detach()), p=1).cpu()
    # Column k of row i says that output i meets target k; position k must hold that output.
    target_of = torch.stack([torch.from_numpy(linear_sum_assignment(cost)[1]) for cost in costs.numpy()])
    order = target_of.argsort(1).to(outputs.device)
    return outputs.gather(1, order[..., None].expand_as(outputs))


def summed(values: Float[Tensor, "B K"], real: Bool[Tensor, "B K"]) -> Float[Tensor, "B 2"]:
    """Return the sum over the sentences of each report, and their number."""
    return torch.stack([(values * real).sum(1), real.sum(1).to(values)], 1)


def mean_of_sentences(sums: Float[Tensor, "B 2"]) -> Float[Tensor, ""]:
    """Return the mean over the sentences of all reports on all ranks."""
    summed, count = sums[:, 0], sums[:, 1].detach()
    return moments.mean(summed / count.clamp_min(1), count, ranks=Ranks.present())
