"""Multi-modal contrastive learning factorises how often pictures and texts meet, and texts make the better pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.diagnostics import induced_positives, normalised, principal_angles
from counterpoint.losses import SpectralLoss
from counterpoint.losses.guided_ntxent import Rule
from counterpoint.study.presets import StudyPreset

from .lab import Arrays, Lab, Result, TrainingComparison, above, below, decides, effects, exact, secondary
from .lab.data_emoji import emoji_inputs, view
from .lab.data_names import NOISE, sources

CLAIM = (
    "The spectral contrastive loss of two modalities factorises their co-occurrence; names make better "
    "positive pairs of pictures than augmentations, and a teacher that knows them improves SimCLR."
)
REFUTED = (
    "trained vectors do not span the first singular vectors, SimCLR is as good as training with clean names, "
    "or the teacher's new positives do not improve SimCLR"
)
SHARE = effects.convention("share")
ADDED = effects.reported(61.2, 67.4, "linear accuracy, SimCLR against AddNewPositive", unit=0.01)
PRESET = StudyPreset(
    "mmcl-generalization",
    "pictures with views of themselves, and with texts, by InfoNCE and by the spectral loss",
    {"arms": ("ntxent,on=images", "clip", "spectral")},
    "ntxent,on=images",
    {"probe": ("logistic_*_top1",)},
)


SEEDS, TAU = 5, 0.1
CLASSES = 5
DATA = Path(__file__).parent / "lab" / "data_names.py"
NAMES, SIMCLR = "names", "SimCLR"
COMPARISON = TrainingComparison(
    {NAMES: f"infonce,temperature={TAU}", SIMCLR: f"ntxent,on=images,temperature={TAU}"},
    {"probe": ("logistic_group_top1",)},
    data=f"{DATA}:OWN",
    changes={"towers.context": 24, "towers.vocabulary": 2048},
    seeds=SEEDS,
)
OF_NAMES = replace(COMPARISON, arms={NAMES: COMPARISON.arms[NAMES]})
NOISY = replace(OF_NAMES, data=f"{DATA}:EXCHANGED")
TEACHER_SEED = 1000
TEACHER = replace(OF_NAMES, seeds=(TEACHER_SEED,))
"""The model that guides all students, as CLIP does in the paper."""
RULES: Mapping[str, Rule] = {
    "1, new positive": "add_positive",
    "2, no false positive": "drop_false_positive",
    "3, no false negative": "drop_false_negative",
    "4, no easy negative": "drop_easy_negative",
}
RANDOM = "random positive"
CONTROL = f"{Path(__file__).parent / 'lab' / 'random_positive.py'}:RandomPositive"


def planted(images: int, texts: int, seed: int) -> Float[Tensor, "V L"]:
    """Compute how likely each picture meets each text: mostly a text of its class, by the popularity of both."""
    generator = torch.Generator().manual_seed(seed)
    image_popularity, text_popularity = (
        torch.rand(n, 1, generator=generator, dtype=torch.float64) + 0.5 for n in (images, texts)
    )
    same = (torch.arange(images) % CLASSES)[:, None] == (torch.arange(texts) % CLASSES)[None]
    noise = torch.rand(images, texts, generator=generator, dtype=torch.float64)
    p = same * (image_popularity @ text_popularity.T) + 0.1 * noise
    return p / p.sum()


def population(
    p: Float[Tensor, "V L"], f: Float[Tensor, "V k"], g: Float[Tensor, "L k"]
) -> Float[Tensor, ""]:
    """Return ``−2 E f(v)·g(l) + E (f(v)·g(l'))²``: the spectral loss, a term over pairs and one over independents."""
    inner = f @ g.T
    return -2 * (p * inner).sum() + (p.sum(1, keepdim=True) * p.sum(0) * inner.square()).sum()


def factorised(p: Float[Tensor, "V L"], rank: int, seed: int) -> tuple[float, float]:
    """Minimise the population loss over free vectors.

    Returns:
        The largest angle between the pictures' vectors and the first singular vectors, in radians; and the
        relative difference of the minimum, plus ‖Ã‖², from the squares of the other singular values.
    """
    generator = torch.Generator().manual_seed(seed)
    f, g = (torch.randn(n, rank, generator=generator, dtype=torch.float64).requires_grad_() for n in p.shape)
    optimizer = torch.optim.LBFGS(
        [f, g], max_iter=2000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = population(p, f, g)
        torch.autograd.backward(loss)
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call] # torch leaves it untyped
    matrix = normalised(p)
    u, s, _ = torch.linalg.svd(matrix)
    rows = p.sum(1, keepdim=True).sqrt() * f.detach()
    minimum = population(p, f, g).detach() + matrix.square().sum()
    rest = s[rank:].square().sum()
    return float(principal_angles(rows, u[:, :rank]).max()), abs(float(minimum / rest) - 1)


def expectation_error(seed: int) -> float:
    """Measure how far the mean of `SpectralLoss` over all batches of two is from the population loss."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(3, 2, generator=generator, dtype=torch.float64)
    p = p / p.sum()
    f, g = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in p.shape)
    cells = list(itertools.product(range(3), range(2)))
    mean = 0.0
    for one, two in itertools.product(cells, cells):
        images, texts = [one[0], two[0]], [one[1], two[1]]
        mean += float(p[one] * p[two] * SpectralLoss()(f[images], g[texts]))
    return abs(mean / float(population(p, f, g)) - 1)


def nearest(noise: float, seed: int, limit: int | None) -> Arrays:
    """Compare each training picture with that of the nearest name (claim 2): is their group the same, how far apart?

    Distances are between the first 32 principal components of the pixels, and over those of two views of a
    picture.
    """
    data, pictures, captions = emoji_inputs()
    rows = data.splits.train[:limit]
    names = captions[sources(noise, seed)[:limit]]
    partner = (names @ names.T).fill_diagonal_(-1).argmax(1)
    groups = torch.from_numpy(data.labels["group"].values[rows])
    x = pictures[rows]
    basis = torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -32:]
    rng = np.random.default_rng([seed, 19])
    one, two = view(x, rng), view(x, rng)
    between = ((x - x[partner]) @ basis).norm(dim=1).mean()
    return {
        "label error": (groups != groups[partner]).double().mean().numpy(),
        "diversity": (between / ((one - two) @ basis).norm(dim=1).mean()).numpy(),
    }


def guided(teacher: Path) -> dict[str, str]:
    """Return the arms that a teacher guides, and one that noise does (claim 3)."""
    arms = {
        name: f'guided-ntxent,teacher="{teacher}",rule={rule},temperature={TAU}'
        for name, rule in RULES.items()
    }
    return {**arms, RANDOM: f"{CONTROL},on=images,temperature={TAU}"}


def run(lab: Lab) -> Iterator[Result]:
    yield from factorisation(lab)
    yield from pairs(lab)


def factorisation(lab: Lab) -> Iterator[Result]:
    """Judge what minimises the spectral loss of a table (claim 1)."""
    tables = [planted(40, 30, seed) for seed in lab.seeds(SEEDS)]
    angles, rests = zip(*(factorised(p, CLASSES, seed) for seed, p in enumerate(tables)), strict=True)
    matrices = [normalised(p) for p in tables]
    induced = [
        float((normalised(induced_positives(p)) - matrix @ matrix.T).abs().max())
        for p, matrix in zip(tables, matrices, strict=True)
    ]
    about = f"{len(tables)} planted tables of 40 pictures and 30 texts, rank {CLASSES}"
    yield from decides(
        below(
            exact(max(angles), f"largest principal angle in radians, {about}"),
            1e-3,
            name="1: angle of the pictures' trained vectors to the first singular vectors",
        ),
        below(
            exact(max(rests), f"largest relative difference, {about}"),
            1e-6,
            name="1: minimum of the loss plus ‖Ã‖² against the squares of the other singular values",
        ),
        below(
            exact(max(induced), f"largest absolute difference, {about}"),
            1e-10,
            name="1: normalised co-occurrence of pictures through texts against Ã Ãᵀ",
        ),
        below(
            exact(expectation_error(0), "relative difference"),
            1e-10,
            name="1: the package's loss, averaged over all batches of two, against the population's",
        ),
    )


def pairs(lab: Lab) -> Iterator[Result]:
    """Judge names as positive pairs, and what a teacher that knows them adds (claims 2 and 3)."""
    study = lab.study(COMPARISON)
    named = study.scores("probe logistic_group_top1", "concepts")
    noisy = lab.study(NOISY, "noisy names").scores("probe logistic_group_top1", "concepts")
    teacher = lab.study(TEACHER, "teacher").folder(NAMES, TEACHER_SEED)
    students = replace(COMPARISON, arms=guided(teacher))
    viewed = lab.study(students, "guided").scores("probe logistic_group_top1", "concepts")
    partners = lab.grid(nearest, {"noise": (0.0, NOISE)}, limit=None)
    wrong = partners.scores("label error", "share of training pictures whose partner is of another group")
    apart = partners.scores("diversity", "ratio of mean distances in 32 principal components of the pixels")
    first, *others = RULES
    added = above(viewed[first] - named[SIMCLR], name=f"3: rule {first} − SimCLR", **ADDED)
    yield from decides(
        above(named[NAMES] - named[SIMCLR], name="2: pictures with names − SimCLR", **SHARE), added
    )
    yield from secondary(
        above(named[NAMES] - noisy[NAMES], name=f"2: names − names of which {NOISE:.0%} are another's"),
        below(
            exact(wrong.values(0.0).mean(), wrong.metric),
            0.2,
            name="2: label error of pairs by the nearest name",
        ),
        above(wrong[NOISE] - wrong[0.0], name=f"2: rise of that error with {NOISE:.0%} noise"),
        above(
            apart[0.0] - 1,
            name="2: distance of pairs by the nearest name over that of two views, less 1",
        ),
        *(above(viewed[rule] - named[SIMCLR], name=f"3: rule {rule} − SimCLR") for rule in others),
        below(viewed[RANDOM] - named[SIMCLR], name=f"3: control, a {RANDOM} − SimCLR"),
    )
    lab.note(
        "2 and 3: emoji and their names, not scenes whose captions say more or less, under the recipe of seconds",
        f"at a temperature of {TAU}. 2 is a study of registered losses. Noise gives half of the pictures others'",
        "names. 3: the teacher is a run of 2, of a seed of its own; the control's sees noise.",
        f"Accuracy: {named.means()}, {viewed.means()}. The names say much of what the probe asks, and the rules hand",
        "that on.",
    )
