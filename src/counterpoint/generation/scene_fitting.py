"""Scenes that fit a prompt of any modality, by its similarity in the space of an aligned encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .ascent import PictureEncoder, random_views
from .layered_scenes import LayeredScenes

PAPERS = {"xbind": ("modality_similarity", "fit_scenes")}


def modality_similarity(
    pictures: Float[Tensor, "n d"], prompt: Float[Tensor, "n d"], centre: Float[Tensor, " d"] | None = None
) -> Float[Tensor, " n"]:
    """Return the loss of pictures of scenes that should fit prompts.

        L_MS = 1 − cos(E_image(picture) − μ, stopgrad(e)),   e = E_m(prompt) − μ_m

    The embeddings of two modalities lie apart, so that their cosine stays in a narrow band: μ and μ_m, the means of
    the embeddings of either, are subtracted where they are given. Gradient reaches the pictures alone.

    Args:
        pictures: embeddings of pictures, with gradient.
        prompt: of prompts, in the same space, less the mean of their modality where ``centre`` is given.
        centre: μ.

    >>> modality_similarity(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])).tolist()
    [0.0, 1.0]
    """
    x = pictures if centre is None else pictures - centre
    return 1 - F.cosine_similarity(x, prompt.detach(), dim=1)


def fit_scenes(
    scenes: LayeredScenes,
    encode: PictureEncoder,
    prompts: Float[Tensor, "m n d"],
    *,
    centre: Float[Tensor, " d"] | None = None,
    steps: int = 100,
    views: int = 4,
    rate: float = 0.1,
    certainty: float = 0.1,
    seed: int = 0,
) -> Float[Tensor, " n"]:
    """Fit the parameters of scenes to prompts by Adam; return the cosines with them that are reached.

        L = mean over prompts and views of L_MS(view of picture) + λ t H(softmax(w)),   t = step / steps

    The weight of the entropy H of what a layer shows grows with the steps, so that a layer ends as one thing.
    Without views (0) pictures are encoded as they are: similarity alone attacks the encoder. Judge scenes by an encoder
    that took no part.

    Args:
        scenes: are changed in place.
        encode: of pictures, in evaluation mode; its parameters get no gradient.
        prompts: embeddings of the m prompts of each scene, of any modalities.
        centre: the mean embedding of pictures; see `modality_similarity`.
        steps: of Adam.
        views: random views of each picture in a step.
        rate: the learning rate.
        certainty: λ.
        seed: of the views.

    >>> scenes = LayeredScenes(torch.rand(5, 4, 8, 8), count=2, size=16)
    >>> fit_scenes(scenes, lambda x: x.mean((2, 3)), torch.eye(3)[None, :2], steps=2).shape
    torch.Size([2])

    Source: Lin et al., "XBind: Any-to-3D Generation via Hybrid Diffusion Supervision" (2024), arXiv 2411.14715: its
    modality similarity. Weights and rates are this package's; its diffusion priors and phases are left out.
    """
    parameters = list(scenes.parameters())
    optimiser = torch.optim.Adam(parameters, lr=rate)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(steps):
            with torch.enable_grad():
                pictures = scenes()
                seen = random_views(pictures.repeat(views, 1, 1, 1)) if views else pictures
                z = encode(seen)
                terms = [modality_similarity(z, one.repeat(max(views, 1), 1), centre) for one in prompts]
                p = scenes.probabilities()
                entropy = -(p * p.clamp_min(1e-9).log()).sum(2).mean(1)
                loss = torch.stack(terms).mean(0).sum() / max(views, 1)
                loss = loss + certainty * step / steps * entropy.sum()
                gradients = torch.autograd.grad(loss, parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimiser.step()
    with torch.no_grad():
        z = encode(scenes())
        return 1 - torch.stack([modality_similarity(z, one, centre) for one in prompts]).mean(0)
