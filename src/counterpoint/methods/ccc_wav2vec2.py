"""CCC-wav2vec 2.0: masked frames of speech told from others, also across an augmented copy; near ones count less."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Fraction, Natural, NonNegative, Positive
from ..networks.base import Towers
from ..networks.clusters import cosine_kmeans
from ..networks.heads import Linear
from ..networks.towers.wav2vec2 import WaveEncoder
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks
from ..raw import ends
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod


class CCCWav2Vec2(TowerMethod):
    """CCC-wav2vec 2.0's loss.

        L = L(c, q) + β L(c, q~) + γ L(c~, q) + 0.1 diversity + 10 mean ‖conv‖²
        L(c, q) = mean_t −log exp(cos(c_t, q_t)/κ) / (exp(cos(c_t, q_t)/κ) + Σ_n exp(s_tn cos(c_t, q_n)/κ))

    c are contexts of masked frames and q quantised features of the same frames, unmasked; c~ and q~ those of a noisy
    copy of the same seconds, in reverberation. Negatives are other masked frames of the same sound. Targets of the
    whole batch, q and q~ together, are clustered by their direction: s_tn is ``scale`` where a negative lies in its
    positive's cluster and 1 elsewhere, always, not only in batches in which some negative equals its positive; such a
    negative is left out. It multiplies the logit, as published, so that a flagged negative with a cosine below 0 counts
    more; ``weaken=probability`` multiplies its share instead. With ``scale=1`` and β = γ = 0 this is wav2vec 2.0.

    Quantiser and encoder are transformers', of a tower that is a Wav2Vec2 there (``audio=wav2vec2``, a small
    one). A step takes ``seconds`` of each sound, from a drawn place; a shorter sound is repeated.

    Args:
        towers: one of sounds.
        recipe: unused: the tower's configuration has all widths.
        scale: of the logits of negatives in their positive's cluster.
        cluster_factor: masked frames of a sound per cluster; there are 2 clusters at least.
        cross, crossed: β and γ.
        negatives: of a frame.
        temperature: κ.
        seconds: of a sound that a step hears.
        mask_share: the share of frames that spans would mask if they did not overlap.
        mask_length: frames of a span.
        weaken: how a flagged negative counts less.

    Raises:
        ValueError: for a tower that is no Wav2Vec2, and for seconds that hold no two masked spans.

    Source: Lodagala, Ghosh and Umesh, "CCC-wav2vec 2.0: Clustering aided Cross Contrastive Self-supervised learning of
    speech representations" (2022), arXiv 2210.02592, and its code; the factors are those of its README. Music and
    voices in the background are left out of the augmentation.
    """

    family = "speech"
    papers = ("ccc-wav2vec2",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("audio",))
    draws = True
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        scale: Fraction = 0.3,
        cluster_factor: Natural = 16,
        cross: NonNegative = 0.5,
        crossed: NonNegative = 0.5,
        negatives: Natural = 100,
        temperature: Positive = 0.1,
        seconds: Positive = 1.5,
        mask_share: Fraction = 0.65,
        mask_length: Natural = 10,
        weaken: Literal["logit", "probability"] = "logit",
    ) -> None:
        super().__init__(towers)
        ((self.column, tower),) = towers.items()
        if not isinstance(tower, WaveEncoder) or tower.model.config.model_type != "wav2vec2":
            raise ValueError(
                f"ccc-wav2vec2 masks frames inside a Wav2Vec2, and its tower is {tower.name or type(tower).__name__}: "
                "write audio=wav2vec2 (a small one) or audio=transformers:FOLDER"
            )
        if weaken == "probability" and not scale:
            raise ValueError(
                "scale=0 leaves a flagged negative no share: weaken=probability needs more than 0"
            )
        config = tower.model.config
        views = {self.column: View("audio", "weak", self.column)}
        if cross or crossed:
            views[f"{self.column}.noisy"] = View("audio", "noisy", self.column, like=self.column)
        self.views = views
        self.quantizer = quantizer_of(config)
        self.of_context = nn.Linear(config.hidden_size, config.proj_codevector_dim)
        self.of_target = nn.Linear(config.codevector_dim, config.proj_codevector_dim)
        self.codes = config.num_codevector_groups * config.num_codevectors_per_group
        self.scale, self.cluster_factor, self.weaken = scale, max(cluster_factor, 1), weaken
        self.cross, self.crossed, self.negatives, self.kappa = cross, crossed, negatives, temperature
        self.samples = round(seconds * tower.rate)
        self.mask_share, self.mask_length = mask_share, mask_length

    @property
    def encoder(self) -> WaveEncoder:
        """The tower."""
        tower = self.tower(self.column)
        assert isinstance(tower, WaveEncoder)
        return tower

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Cut both copies of each sound at one drawn place, and draw its masked frames and their negatives."""
        ranks, device = Ranks.present(), batch.ids.device
        counts = ranks.counts(len(batch), device)
        whole, rows = sum(counts), ranks.rows(counts)
        length = ends(batch[self.column]).clamp_min(1)
        start = torch.rand(whole)[rows].to(device) * (length - self.samples).clamp_min(0)
        places = (start.long()[:, None] + torch.arange(self.samples, device=device)) % length[:, None]
        cut = {name: batch[name].nan_to_num(0.0).gather(1, places) for name in self.views}
        masked = self._masked(whole)
        frames = torch.arange(masked.shape[1])[:, None]
        drawn = {}
        for name in self.views:
            others = torch.randint(masked.shape[1] - 1, (whole, masked.shape[1], self.negatives))
            drawn[f"{name}.negatives"] = (others + (others >= frames))[rows].to(device)
        drawn[f"{self.column}.masked"] = masked[rows].to(device)
        return replace(batch, views={**batch.views, **cut, **drawn})

    def _masked(self, sounds: int) -> Int[Tensor, "n M"]:
        """Draw the masked frames of some sounds: spans from drawn frames on, which may overlap.

        As many frames of every sound are kept as are masked of the one with the fewest, so that they are one
        tensor.
        """
        times = int(self.encoder.model._get_feat_extract_output_lengths(self.samples))
        starts = times - self.mask_length + 1
        if self.mask_length < 1 or starts < 2:
            raise ValueError(f"{times} frames hold no two spans of {self.mask_length}: give more seconds")
        spans = min(max(round(self.mask_share * times / self.mask_length), 2), starts)
        first = torch.rand(sounds, starts).topk(spans).indices
        frames = (first[..., None] + torch.arange(self.mask_length)).flatten(1)
        masked = torch.zeros(sounds, times).scatter(1, frames, 1.0)
        fewest = int(masked.sum(1).min())
        return (masked + torch.rand(sounds, times)).topk(fewest).indices.sort(1).values

    def encode(self, batch: Batch) -> Embeddings:
        """Return of each masked frame its context, its features, and the mean square of its sound's features."""
        masked = batch[f"{self.column}.masked"]
        return {name: self._frames(batch[name], masked) for name in self.views}

    def _frames(self, sounds: Float[Tensor, "B S"], masked: Int[Tensor, "B M"]) -> Float[Tensor, "B M w"]:
        model = self.encoder.model
        extracted = model.feature_extractor(self.encoder.standardised(sounds)).mT
        hidden, features = model.feature_projection(extracted)
        mask: Bool[Tensor, "B t"] = torch.zeros_like(hidden[..., 0], dtype=torch.bool).scatter(
            1, masked, True
        )
        seen = torch.where(mask[..., None], model.masked_spec_embed.to(hidden.dtype), hidden)
        contexts = model.encoder(seen).last_hidden_state
        square = extracted.square().mean((1, 2), keepdim=True).expand(-1, masked.shape[1], 1)
        here = masked[..., None]
        chosen = [z.gather(1, here.expand(-1, -1, z.shape[2])) for z in (contexts, features)]
        return torch.cat([*chosen, square], 2)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        config, ranks = self.encoder.model.config, Ranks.present()
        self.quantizer.temperature = max(2 * 0.999995**clock.step, 0.5)
        widths = [config.hidden_size, config.conv_dim[-1], 1]
        parts = [torch.split(z[name], widths, 2) for name in self.views]
        contexts = [self.of_context(context) for context, _, _ in parts]
        targets = [self.of_target(self.quantizer(features)[0]) for _, features, _ in parts]
        flags = self.clusters(targets)
        negatives = [batch[f"{name}.negatives"] for name in self.views]

        def contrast(context: int, target: int) -> Tensor:
            terms = self.contrast(contexts[context], targets[target], negatives[target], flags[target])
            return moments.mean(terms, ranks=ranks)

        return {
            "contrast": contrast(0, 0),
            **({"cross": self.cross * contrast(0, 1)} if self.cross else {}),
            **({"crossed": self.crossed * contrast(1, 0)} if self.crossed else {}),
            "diversity": config.diversity_loss_weight * self.diversity(parts[0][1], ranks),
            "penalty": 10 * moments.mean(upcast(parts[0][2])[:, 0, 0], ranks=ranks),
        }

    @torch.no_grad()
    def clusters(self, targets: list[Float[Tensor, "B M d"]]) -> list[Int[Tensor, "B M"] | None]:
        """Return the cluster of every target among those of all ranks; None where clusters change nothing."""
        if self.scale == 1:
            return [None for _ in targets]
        ranks, (sounds, frames, _) = Ranks.present(), targets[0].shape
        counts = ranks.counts(sounds, targets[0].device)
        pooled = torch.stack(targets, 1)  # sound by sound, so that ranks only lengthen it
        assignments = cosine_kmeans(
            upcast(ranks.gather(pooled, counts)).flatten(0, 2), max(2, frames // self.cluster_factor)
        )
        mine = assignments.view(-1, len(targets), frames)[ranks.rows(counts)]
        return list(mine.unbind(1))

    def contrast(
        self,
        c: Float[Tensor, "B M d"],
        q: Float[Tensor, "B M d"],
        negatives: Int[Tensor, "B M K"],
        clusters: Int[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Return of each sound the mean cross-entropy of finding a frame's target among those of its negatives."""
        c, q = upcast(c), upcast(q)
        logits = F.normalize(c, dim=-1) @ F.normalize(q, dim=-1).mT / self.kappa
        positive, others = logits.diagonal(dim1=1, dim2=2), logits.gather(2, negatives)
        if clusters is not None:
            flagged = _alike(clusters, negatives)
            weaker = self.scale * others if self.weaken == "logit" else others + math.log(self.scale)
            others = torch.where(flagged, weaker, others)
        _, vectors = torch.unique(q.detach().flatten(0, 1), dim=0, return_inverse=True)
        vectors = vectors.view(q.shape[:2])
        others = others.masked_fill(_alike(vectors, negatives), -torch.inf)
        every = torch.cat([positive[..., None], others], 2)
        return (every.logsumexp(2) - positive).mean(1)

    def diversity(self, features: Float[Tensor, "B M w"], ranks: Ranks) -> Float[Tensor, ""]:
        """Return the share of the codes that are not used: 1 minus their perplexity over their number."""
        groups = self.quantizer.num_groups
        logits = upcast(self.quantizer.weight_proj(features))
        probable = logits.view(*logits.shape[:2], groups, -1).softmax(-1)
        used = moments.mean(probable.mean(1), ranks=ranks)
        perplexity = (-torch.xlogy(used, used).sum(-1)).exp().sum()
        return (self.codes - perplexity) / self.codes


def _alike(kinds: Int[Tensor, "B M"], negatives: Int[Tensor, "B M K"]) -> Bool[Tensor, "B M K"]:
    """Return which negatives are of the kind of the frame that they are of."""
    flat = negatives.flatten(1)
    return kinds.gather(1, flat).view(negatives.shape) == kinds[..., None]


def quantizer_of(config: Any) -> Any:
    """Return transformers' quantiser, whose start follows from a seed."""
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

    class Quantizer(Wav2Vec2GumbelVectorQuantizer):  # type: ignore[misc] # of a library without types
        def __init__(self) -> None:
            super().__init__(config)
            self.weight_proj = Linear(
                config.conv_dim[-1], self.num_groups * self.num_vars, std=1.0, bias=True
            )

        def reset_parameters(self) -> None:
            nn.init.uniform_(self.codevectors)

    return Quantizer()
