"""Sections about the embeddings of a test set."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from ...data import views as view_room
from .. import plots
from ..augmentation import centres, concentration
from ..class_means import (
    class_cosines,
    mean_cosine,
    orthogonal_frame,
    simplex,
    utilization,
    within_class_variation,
)
from ..gap import centroid_gap, separability
from ..geometry import (
    alignment,
    collapse_warning,
    components,
    effective_rank,
    explained_variance,
    tolerance,
    uniformity,
)
from ..inversion import average_precision, to_image, to_text
from ..negatives import hardness
from .subject import EMBEDDED, DiagnosticSection, Side, Subject, spaced

INVERTED = {"image": 128, "text": 24}
"""Number of samples that are inverted."""
STEPS = {"image": 150, "text": 100}
"""Steps of optimisation for a sample: the paper's 150 for pictures, a tenth of its 1,000 for texts, which cost most."""
AUGMENTED, VIEWS, SIDE = 200, 16, 16


def spread(subject: Subject) -> DiagnosticSection:
    first, *others = subject.sides
    z = first.embeddings
    numbers = {f"uniformity of {first.things}": uniformity(z)}
    groups = {f"any two {first.things}": _cosines(z, z.roll(1, 0))}
    if subject.label is not None:
        numbers[f"tolerance of {first.things}"] = tolerance(z, subject.labels(subject.seen))
    sentence = (
        f"{first.things.capitalize()} cover the sphere as evenly as uniformity says (0: one point, −4: as even as can "
        "be)"
    )
    for other in others:
        numbers |= {
            "alignment": alignment(z, other.embeddings),
            f"uniformity of {other.things}": uniformity(other.embeddings),
        }
        matched, mismatched = (
            f"a {first.thing} and its {other.thing}",
            f"a {first.thing} and another's {other.thing}",
        )
        groups = {
            matched: _cosines(z, other.embeddings),
            mismatched: _cosines(z, other.embeddings.roll(1, 0)),
            **groups,
        }
        apart = float(groups[matched].mean() - groups[mismatched].mean())
        numbers[f"own {other.thing} closer than another's by"] = apart
        sentence = (
            f"A {first.thing} is closer to its own {other.thing} than to another's by a cosine of {apart:.2f} on "
            "average"
        )
    sentence += (
        ". Tolerance, the cosine within a class, rises by itself under collapse: read it beside uniformity."
    )
    figure = plots.histograms(groups, x="cosine")
    return DiagnosticSection("spread", "Alignment, uniformity, tolerance", sentence, numbers, figure)


def _cosines(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return (F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).sum(1).numpy()


def rank(subject: Subject) -> DiagnosticSection:
    numbers: dict[str, float] = {}
    curves: dict[str, plots.Curve] = {}
    warnings = []
    for side in subject.sides:
        numbers[f"effective rank of {side.things}"] = effective_rank(side.embeddings)
        numbers[f"components for 99 % of {side.things}"] = components(side.embeddings)
        explained = explained_variance(side.embeddings).numpy()
        curves[side.things] = (np.arange(1, len(explained) + 1), explained)
        warning = collapse_warning(side.embeddings)
        warnings += [f"{side.things} are {warning}"] if warning else []
    first = subject.sides[0]
    used = numbers[f"effective rank of {first.things}"]
    sentence = f"Of {first.embeddings.shape[1]} directions {first.things} use about {used:.0f} (effective rank, RankMe)"
    sentence += f"; {'; '.join(warnings)}." if warnings else "; nothing has collapsed."
    figure = plots.lines(curves, x="principal components", y="variance explained", log=True)
    return DiagnosticSection("rank", "Directions in use", sentence, numbers, figure)


def classes(subject: Subject) -> DiagnosticSection:
    """Measure the geometry of the classes' means, and how far test examples are from training examples."""
    first, *_ = subject.sides
    labels, z = subject.labels(subject.seen), first.embeddings
    train = subject.data.splits.train
    train = spaced(train[subject.data.present(first.column, train)], EMBEDDED)
    known = subject.features.column(first.column, train)
    numbers = {
        "distance from an orthogonal frame": orthogonal_frame(z, labels),
        "distance from a simplex": simplex(z, labels),
        "variation within classes": within_class_variation(z, labels),
        "mean size of a cosine of two means": mean_cosine(z, labels),
        "distance of the nearest training example, squared": utilization(z, known),
    }
    nearer = min(("an orthogonal frame", "a simplex"), key=lambda shape: numbers[f"distance from {shape}"])
    sentence = (
        f"The means of the classes of {subject.label} are nearer to {nearer} (distance "
        f"{numbers[f'distance from {nearer}']:.2f} of at most √2); within a class "
        f"{numbers['variation within classes']:.2g} of the variation between means is left (0: a class is one point)."
    )
    figure = plots.histograms({"means of two classes": class_cosines(z, labels).numpy()}, x="cosine")
    return DiagnosticSection("classes", "Means of classes", sentence, numbers, figure)


def gap(subject: Subject) -> DiagnosticSection:
    a, b = _needs_both(subject)
    one, other = (F.normalize(side.embeddings, dim=-1) for side in (a, b))
    numbers = {
        "distance of the centres": centroid_gap(one, other),
        "separability": separability(one, other),
        # The cheap control: what is left of the gap when each modality's mean is taken away.
        "separability, means removed": separability(one - one.mean(0), other - other.mean(0)),
    }
    both = torch.cat([one, other]).double()
    axes = torch.linalg.svd(both - both.mean(0), full_matrices=False).Vh[:2]
    accuracy = numbers["separability"]
    sentence = (
        f"A linear classifier tells {a.things} from {b.things} in {accuracy:.0%} of cases (50 %: mixed, 100 %: two "
        f"clouds), and their centres are {numbers['distance of the centres']:.2f} apart."
    )
    figure = plots.scatter(
        {a.things: (one.double() @ axes.T).numpy(), b.things: (other.double() @ axes.T).numpy()},
        x="first principal component of both",
        y="second",
    )
    return DiagnosticSection("gap", f"The gap between {a.things} and {b.things}", sentence, numbers, figure)


def hard_negatives(subject: Subject) -> DiagnosticSection:
    a, b = _needs_both(subject)
    profile = hardness(a.embeddings, b.embeddings)
    n = len(a.embeddings) - 1
    share = np.array(profile.effective) / n
    middle = profile.temperatures.index(0.1)
    sentence = (
        f"At a temperature of 0.1 the push of InfoNCE falls on about {profile.effective[middle]:.0f} of {n} "
        f"negatives, and the hardest 1 % of them get {profile.hardest[middle]:.0%} of it."
    )
    numbers = {}
    for tau, effective, hardest in zip(profile.temperatures, profile.effective, profile.hardest, strict=True):
        numbers[f"negatives that count at τ = {tau:g}"] = effective
        numbers[f"share of the hardest 1 % at τ = {tau:g}"] = hardest
    figure = plots.lines(
        {
            "negatives that count, share": (profile.temperatures, share),
            "push on the hardest 1 %": (profile.temperatures, profile.hardest),
        },
        x="temperature",
        y="share",
        log=True,
    )
    return DiagnosticSection("hardness", "Which negatives are pushed", sentence, numbers, figure)


def inversion(subject: Subject) -> DiagnosticSection:
    """Measure retrieval of pictures, and of texts, of the same class: within the modality, and across by inversion."""
    if not subject.of_captions:
        raise ValueError("it takes embeddings of pictures and of texts")
    images, texts = (side.embeddings for side in subject.sides)
    classes = subject.labels(subject.seen)
    kept = torch.arange(len(classes))[classes >= 0]
    numbers: dict[str, float] = {}
    for kind, gallery in (("image", images), ("text", texts)):
        queries = kept[torch.linspace(0, len(kept) - 1, min(INVERTED[kind], len(kept))).long()]
        rows = subject.seen[queries.numpy()]
        try:
            inverted = (
                to_text(subject.model, subject.pictures(rows), steps=STEPS[kind])
                if kind == "image"
                else to_image(subject.model, subject.data.read(subject.columns[1], rows), steps=STEPS[kind])
            )
        except ValueError:
            if kind == "image":
                raise
            continue  # convolutions have no tokens to put anything in the place of
        crossed = inverted.features.cpu()

        def same(part: slice, queries: torch.Tensor = queries) -> torch.Tensor:
            return classes[queries[part], None] == classes

        def control(part: slice, queries: torch.Tensor = queries) -> torch.Tensor:
            return classes[queries[part], None] == classes[queries]

        index = torch.arange(len(queries))
        things = {"image": "pictures", "text": "texts"}[kind]
        numbers[f"{things}, within"] = _mean(average_precision(gallery[queries], gallery, same, queries))
        numbers[f"{things}, query inverted"] = _mean(average_precision(crossed, gallery, same, queries))
        numbers[f"{things}, control: within, queries alone"] = _mean(
            average_precision(gallery[queries], gallery[queries], control, index)
        )
        numbers[f"{things}, control: both inverted"] = _mean(
            average_precision(crossed, crossed, control, index)
        )
        numbers[f"cosine of inverted {things} with their target"] = float(inverted.cosine.mean())
    difference = numbers["pictures, query inverted"] - numbers["pictures, within"]
    sentence = (
        f"Looking for pictures of the same {subject.label}, a query taken to the text side changes the mean average "
        f"precision by {difference:+.3f} against the picture itself. Above 0 similarities within a modality are "
        f"misaligned."
    )
    shown = {name: value for name, value in numbers.items() if not name.startswith("cosine")}
    figure = plots.bars(shown, x="mean average precision")
    return DiagnosticSection("inversion", "Within a modality or across", sentence, numbers, figure)


def _mean(values: torch.Tensor) -> float:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else math.nan


def views(subject: Subject) -> DiagnosticSection:
    """Return (σ, δ) of the augmentation that the method trains with, and how its features gather."""
    name = next((v.augmentation for v in subject.model.views.values() if v.modality == "image"), None)
    if name is None:
        raise ValueError("the method sees no pictures")
    if subject.augmentation is not None:
        name = view_room.meant(name, subject.augmentation)
    rows = subject.seen[:: max(len(subject.seen) // AUGMENTED, 1)][:AUGMENTED]
    labels = subject.labels(rows)
    view, ids, pictures = view_room.image(name), subject.data.ids[rows], subject.pictures(rows)
    size = subject.model.image_tower.size
    pixels, features = [], []
    for k in range(VIEWS):
        seen = view.apply(pictures, view_room.key(0, k, ids, "diagnostics"), size)
        pixels.append(F.interpolate(seen, size=SIDE, mode="area").flatten(1))
        if k < 4:
            features.append(subject.features.raw(subject.picture, (255 * seen).round().byte()))
    bounds = concentration(torch.stack(pixels, 1), labels)
    gathered = centres(torch.stack(features, 1), labels)
    sentence = (
        f"Under the view “{name}” two pictures of a {subject.label} come within {bounds.distance:.2f} of each other on "
        f"average; the nearest class centre is wrong for {gathered.error:.0%} of the views. Compare it with other "
        f"augmentations at the same {VIEWS} views of {SIDE} × {SIDE} pixels."
    )
    numbers = {
        "mean distance within classes": bounds.distance,
        **{f"σ at δ = {d:.3g}, at least": s for d, s in zip(bounds.deltas, bounds.sigma, strict=True)},
        "alignment of views": gathered.alignment,
        "spread of classes": gathered.spread,
        "largest product of two centres": gathered.divergence,
        "views of an example further apart than 0.5": gathered.scattered,
        "error of the nearest centre": gathered.error,
    }
    figure = plots.lines(
        {"σ, at least": (bounds.deltas, bounds.sigma), "σ, at most": (bounds.deltas, bounds.star)},
        x="δ, distance of the nearest views",
        y="share of a class",
    )
    return DiagnosticSection("augmentation", "Concentration under augmentation", sentence, numbers, figure)


def _needs_both(subject: Subject) -> tuple[Side, ...]:
    if not subject.both:
        raise ValueError("it takes embeddings of two columns, and this model has those of one")
    return subject.sides
