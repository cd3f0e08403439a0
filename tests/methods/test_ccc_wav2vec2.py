"""CCC-wav2vec 2.0: the base loss is transformers', near negatives count less, copies are of the same seconds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from method_stubs import LATE, RECIPE, StubSound, batch, build
from torch import Tensor

from counterpoint import methods
from counterpoint.networks.clusters import cosine_kmeans
from counterpoint.types import Batch


def plain(**options: Any) -> Any:
    return build("ccc-wav2vec2", **{"scale": 1.0, "cross": 0.0, "crossed": 0.0, **options})


def test_the_base_loss_is_transformers() -> None:
    method = plain().eval()
    given = batch(method, size=3)
    model = method.encoder.model
    whole = transformers.Wav2Vec2ForPreTraining(model.config).eval()
    whole.wav2vec2, whole.quantizer = model, method.quantizer
    whole.project_hid, whole.project_q = method.of_context, method.of_target
    masked, negatives = given["audio.masked"], given["audio.negatives"]
    times = int(model._get_feat_extract_output_lengths(method.samples))
    mask = torch.zeros(3, times, dtype=torch.bool).scatter(1, masked, True)
    indices = torch.zeros(3, times, negatives.shape[2], dtype=torch.long)
    for i in range(3):
        indices[i, masked[i]] = masked[i][negatives[i]] + i * times
    model.config.apply_spec_augment = True  # so that the model masks by itself
    with torch.no_grad():
        found = whole(
            method.encoder.standardised(given["audio"]),
            mask_time_indices=mask,
            sampled_negative_indices=indices,
        )
        model.config.apply_spec_augment = False
        terms = method.losses(method.encode(given), given, LATE)
    count = masked.numel()
    torch.testing.assert_close(terms["contrast"] * count, found.contrastive_loss, rtol=1e-5, atol=1e-5)
    # Of probabilities, which is what transformers' training mode counts codes by, whatever is drawn.
    torch.manual_seed(0)
    _, perplexity = method.quantizer.train()(
        whole.wav2vec2(method.encoder.standardised(given["audio"])).extract_features, mask
    )
    wanted = model.config.diversity_loss_weight * (method.codes - perplexity) / method.codes
    torch.testing.assert_close(terms["diversity"], wanted.detach(), rtol=1e-5, atol=1e-6)
    assert set(terms) == {"contrast", "diversity", "penalty"}


def by_loops(method: Any, c: Tensor, q: Tensor, negatives: Tensor, clusters: Tensor) -> Tensor:
    sounds = []
    for i in range(len(c)):
        terms = []
        for t in range(c.shape[1]):
            logits = [F.cosine_similarity(c[i, t], q[i, t], dim=0) / method.kappa]
            for n in negatives[i, t].tolist():
                logit = F.cosine_similarity(c[i, t], q[i, n], dim=0) / method.kappa
                if torch.equal(q[i, n], q[i, t]):
                    continue
                if clusters[i, n] == clusters[i, t]:
                    logit = (
                        method.scale * logit if method.weaken == "logit" else logit + math.log(method.scale)
                    )
                logits.append(logit)
            terms.append(torch.stack(logits).logsumexp(0) - logits[0])
        sounds.append(torch.stack(terms).mean())
    return torch.stack(sounds)


@pytest.mark.parametrize(("scale", "weaken"), [(0.3, "logit"), (0.0, "logit"), (0.3, "probability")])
@pytest.mark.parametrize("equal", [False, True])
def test_negatives_of_the_positives_cluster_count_less_always(scale: float, weaken: str, equal: bool) -> None:
    """Also in a batch in which no negative equals its positive, where the release forgets it."""
    method = plain(scale=scale, weaken=weaken)
    g = torch.Generator().manual_seed(0)
    c, q = (torch.randn(2, 4, 6, generator=g, dtype=torch.float64) for _ in range(2))
    if equal:
        q[0, 1] = q[0, 2]
    negatives = torch.tensor([[[1, 2], [2, 3], [1, 0], [0, 1]], [[1, 3], [0, 2], [3, 1], [2, 2]]])
    clusters = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    found = method.contrast(c.requires_grad_(), q, negatives, clusters)
    torch.testing.assert_close(found, by_loops(method, c, q, negatives, clusters))
    found.sum().backward()
    assert c.grad is not None
    assert c.grad.isfinite().all()
    assert not torch.isclose(found, method.contrast(c, q, negatives)).any()


def test_a_scale_of_one_is_no_clustering() -> None:
    method, other = plain(), plain(scale=0.999999)
    given = batch(method, size=4)
    z = method.encode(given)
    torch.manual_seed(0)
    one = method.losses(z, given, LATE)["contrast"]
    torch.manual_seed(0)
    torch.testing.assert_close(other.losses(z, given, LATE)["contrast"], one, rtol=1e-4, atol=0)
    assert method.clusters([torch.randn(4, 6, 8)]) == [None]
    (found,) = build("ccc-wav2vec2").clusters([torch.randn(4, 6, 8)])
    assert found.shape == (4, 6)
    assert found.max() == 2  # six frames by a factor of two


def test_cross_terms_of_one_copys_contexts_and_others_targets() -> None:
    method = build("ccc-wav2vec2", scale=1.0, cross=0.5, crossed=0.25).eval()
    given = batch(method, size=3)
    z = method.encode(given)
    with torch.no_grad():
        terms = method.losses(z, given, LATE)
        swapped = {"audio": z["audio.noisy"], "audio.noisy": z["audio"]}
        views = {
            **given.views,
            "audio.negatives": given["audio.noisy.negatives"],
            "audio.noisy.negatives": given["audio.negatives"],
        }
        other = method.losses(swapped, Batch(given.ids, views), LATE)
    torch.testing.assert_close(other["cross"] / 0.5, terms["crossed"] / 0.25)
    torch.testing.assert_close(other["crossed"] / 0.25, terms["cross"] / 0.5)
    assert not torch.isclose(terms["cross"] / 0.5, terms["crossed"] / 0.25)


def test_both_copies_cut_at_one_place_and_masks_are_of_one_size() -> None:
    method = build("ccc-wav2vec2", seconds=0.004, mask_length=2)
    sounds = torch.arange(200.0).repeat(5, 1)
    sounds[3, 20:] = torch.nan  # shorter than what a step hears: it is repeated
    torch.manual_seed(0)
    given = method.prepare(Batch(torch.arange(5), {"audio": sounds, "audio.noisy": sounds + 1000}), LATE)
    assert given["audio"].shape == (5, 32)
    assert torch.equal(given["audio.noisy"], given["audio"] + 1000)
    assert (given["audio"][[0, 1, 2, 4]].diff(dim=1) == 1).all()
    assert len(set(given["audio"][[0, 1, 2, 4], 0].tolist())) == 4
    assert given["audio"][3].tolist() == [*range(20), *range(12)]
    masked, negatives = given["audio.masked"], given["audio.negatives"]
    assert (masked.diff(dim=1) > 0).all()
    assert masked.max() < 7
    assert negatives.shape == (5, masked.shape[1], 5)
    assert (negatives != torch.arange(masked.shape[1])[:, None]).all()
    assert negatives.min() >= 0
    assert negatives.max() < masked.shape[1]
    assert not torch.equal(negatives, given["audio.noisy.negatives"])


def test_what_cannot_be_masked_is_named() -> None:
    with pytest.raises(ValueError, match=r"write audio=wav2vec2 \(a small one\)"):
        methods.create("ccc-wav2vec2", {"audio": StubSound()}, RECIPE)
    with pytest.raises(ValueError, match="hold no two spans of 8: give more seconds"):
        batch(build("ccc-wav2vec2", seconds=0.004, mask_length=8))
    with pytest.raises(ValueError, match="weaken=probability needs more than 0"):
        build("ccc-wav2vec2", scale=0.0, weaken="probability")


def test_clusters_are_by_direction() -> None:
    angles = torch.tensor([0.0, 0.1, 2.0, 2.1, 4.0, 4.1])
    points = torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([[1.0], [9.0]] * 3)
    assert cosine_kmeans(points[[0, 2, 4, 1, 3, 5]], 3).tolist() == [0, 1, 2, 0, 1, 2]
    assert cosine_kmeans(points[:2], 5).unique().numel() <= 2
