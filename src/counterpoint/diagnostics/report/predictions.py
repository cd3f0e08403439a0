"""Sections of models that predict pixels: answers of a segmenter, and what a masked model makes of hidden patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...methods.cim import CIM, overlap
from ...methods.multimae import MultiMAE
from ...methods.segment import Segment
from ...networks.towers.maps import MapSquare
from ...raw import Maps
from ...raw.maps import UNKNOWN, near_border
from ...types import Batch, StepInfo
from .. import plots
from .subject import DiagnosticSection, Subject, spaced

SHOWN = 12
"""Pictures that are drawn."""
BAND = 3
"""Distance from a border, in pixels, within which differences are drawn."""
_GREY = 0.5


def segmenter(subject: Subject) -> DiagnosticSection:
    """Draw the truth beside the answers of a segmenter, and where they differ near borders."""
    model = subject.model
    if not isinstance(model, Segment):
        raise ValueError("the model gives the pixels of pictures no class, as a model of segment does")
    rows_of_maps = subject.rows[subject.data.present(model.map, subject.rows)]
    rows = spaced(rows_of_maps, SHOWN)
    pictures, given = subject.pictures(rows), subject.data.read(model.map, rows)
    assert isinstance(given, Maps)
    answers = model.segment(pictures).cpu()
    truths, shown = (_square(x, answers.shape[-1]) for x in (given.pixels, pictures))
    names, right, drawn, seen = list(model.classes), [], [], set[int]()
    for picture, truth, answer in zip(shown, truths.long(), answers, strict=True):
        known, band = truth != UNKNOWN, near_border(truth, BAND)
        wrong = (answer != truth) & known
        right.append(
            [int(part.sum()) for part in (known, known & ~wrong, known & band, known & band & ~wrong)]
        )
        seen |= {*truth[known].tolist(), *answer.unique().tolist()}
        maps = (_classes(truth, names), _classes(answer, names), (wrong & band).float().numpy())
        drawn.append([picture.permute(1, 2, 0).numpy(), *maps])
    pixels, right_pixels, near, right_near = np.sum(right, 0).tolist()
    numbers = {"accuracy": right_pixels / max(pixels, 1), "accuracy near borders": right_near / max(near, 1)}
    sentence = (
        f"Of the pixels of {len(rows)} test pictures {numbers['accuracy']:.0%} have the right class, and "
        f"{numbers['accuracy near borders']:.0%} of those with another class within {BAND} pixels. The last column "
        "shows the wrong ones among these."
    )
    figure = plots.gallery(drawn, ["picture", "truth", "answer", "differs"])
    plots.class_legend(figure, names, sorted(seen), 4)
    return DiagnosticSection("segmenter", "Classes of pixels", sentence, numbers, figure)


def masked(subject: Subject) -> DiagnosticSection:
    """Draw what a masked model was shown of some pictures, and what it makes of what was hidden."""
    model = subject.model
    if not isinstance(model, MultiMAE | CIM):
        raise ValueError("the model predicts no hidden part of pictures, as a model of multimae or cim does")
    loader = subject.loader
    rows = spaced(next(rows for rows in loader.data.splits.test.values() if len(rows)), SHOWN)
    batch = loader.of(rows, 0)
    device = next(model.parameters()).device
    batch = Batch(
        batch.ids,
        {name: view.to(device) for name, view in batch.views.items()},
        batch.labels,
        batch.present,
        batch.frames,
    )
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        batch = model.prepare(batch, StepInfo(0, 1))
        return _located(model, batch) if isinstance(model, CIM) else _restored(model, batch)


def _located(model: CIM, batch: Batch) -> DiagnosticSection:
    """Draw exemplars, and where in their context the model finds them."""
    name = model.exemplars[0]
    context, states = model.targets(batch), model.encode(batch)
    (key,) = context
    answers = model.correlate(context[key], states[name]).argmax(1).bool()
    truths = model.map_of(batch, name)
    numbers = {"overlap": float(overlap(answers, truths).nanmean())}
    drawn = [
        [
            _picture(batch[model.column][k]),
            _picture(batch[name][k]),
            *(x[k].float().numpy() for x in (truths, answers)),
        ]
        for k in range(len(batch))
    ]
    sentence = (
        f"An exemplar is a small, changed crop. The model marks the cells of the context that it comes from; truth and "
        f"answer overlap by {numbers['overlap']:.2f} (intersection over union, mean over {len(batch)} pictures)."
    )
    figure = plots.gallery(drawn, ["context", "exemplar", "truth", "answer"])
    return DiagnosticSection("masked", "What is hidden", sentence, numbers, figure)


def _restored(model: MultiMAE, batch: Batch) -> DiagnosticSection:
    """Draw pictures and maps with their visible patches alone, and with what the model predicts of the others."""
    tower, columns = model.transformer, [model.image, *model.maps]
    normalise, predicted = tower.normalise, model.predict(batch)
    everything = torch.zeros(len(batch), model.patches * len(columns), dtype=torch.bool)
    index = batch[f"{model.image}.visible"].cpu()
    visible = everything.scatter(1, index, True).view(len(batch), len(columns), *model.grid)
    parts: list[list[Sequence[np.ndarray]]] = []
    headings: list[str] = []
    numbers = {"visible patches": float(visible.float().mean())}
    for k, column in enumerate(columns):
        seen = visible[:, k].repeat_interleave(tower.patch, 1).repeat_interleave(tower.patch, 2)
        values = batch[column].cpu()
        grid = predicted[column].mT.reshape(len(batch), -1, *model.grid)
        made = F.pixel_shuffle(grid, tower.patch) if column == model.image else None
        if made is not None:
            made = (made * normalise.std + normalise.mean).clamp(0, 1).cpu()
            error = (made - values).square().mean(1)
            numbers["squared error of hidden pixels"] = float(error[~seen].mean())
            whole = [_picture(x) for x in values]
            shown = [_picture(torch.where(m, x, _GREY)) for m, x in zip(seen, values, strict=True)]
            answer = [_picture(torch.where(m, x, y)) for m, x, y in zip(seen, values, made, strict=True)]
        else:
            whole, shown, answer = _of_maps(model, column, predicted[column], values, seen)
        parts.append([whole, shown, answer])
        headings += [column, "shown", "made"]
    drawn = [[pictures[row] for part in parts for pictures in part] for row in range(len(batch))]
    sentence = (
        f"Of the patches of {' and '.join(columns)} {numbers['visible patches']:.0%} are shown to the model; it "
        f"predicts the others. The squared error of hidden pixels is {numbers['squared error of hidden pixels']:.3f} "
        "(of values from 0 to 1)."
    )
    return DiagnosticSection("masked", "What is hidden", sentence, numbers, plots.gallery(drawn, headings))


def _of_maps(
    model: MultiMAE,
    column: str,
    predicted: Float[Tensor, "B n out"],
    values: Tensor,
    seen: Bool[Tensor, "B H W"],
) -> list[list[np.ndarray]]:
    """Return maps whole, with visible patches alone, and with predictions in place of the others."""
    patch = model.transformer.patch
    # For each pixel of a patch the logits of the classes and a number.
    pixels = predicted.reshape(*predicted.shape[:2], patch**2, -1)

    def assembled(of_patches: Float[Tensor, "B n p"]) -> Float[Tensor, "B H W"]:
        grid = of_patches.mT.reshape(len(of_patches), patch**2, *model.grid)
        return F.pixel_shuffle(grid, patch)[:, 0].cpu()

    if values.is_floating_point():
        made = assembled(pixels[..., -1])
        low, high = values.nan_to_num(0.0).aminmax()
        scaled = [
            ((x.nan_to_num(0.0) - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) for x in (values, made)
        ]
        whole, answer = scaled
        drawn = (whole, torch.where(seen, whole, 0.0), torch.where(seen, whole, answer))
        return [list(maps.numpy()) for maps in drawn]
    made = assembled(pixels[..., :-1].argmax(3).float()).long()
    truth = values.long()
    given = model.tower(column).input
    assert isinstance(given, MapSquare)
    names = list(given.classes)
    hidden = torch.full_like(truth, UNKNOWN)
    stages = (truth, torch.where(seen, truth, hidden), torch.where(seen, truth, made))
    return [[_classes(x, names) for x in maps] for maps in stages]


def _square(x: Tensor, side: int) -> Tensor:
    """Return the central squares of pictures or maps."""
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    return x[..., top : top + side, left : left + side]


def _classes(labels: Int[Tensor, "H W"], names: list[str]) -> Float[np.ndarray, "H W 3"]:
    """Return a map in colours; what is not known is white."""
    colours = np.concatenate([plots.class_colours(names), np.ones((1, 3))])
    return colours[torch.where(labels == UNKNOWN, len(names), labels).numpy()]


def _picture(image: Float[Tensor, "3 H W"]) -> Float[np.ndarray, "H W 3"]:
    return image.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
