"""The card of an export: README.md, with the block of metadata that the Hugging Face hub reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .. import __version__, catalog
from ..data.base import Data
from ..data.source import load_any, short_name
from ..files import MANIFEST, latest_checkpoint
from ..interop._layout import Layout
from ..methods.arm import Arm
from ..methods.base import Method
from ..methods.tower_method import TowerMethod
from ..modalities import noun_of
from ..models import run_of
from ..pairwise import Loss
from ..reasons import counted
from ..spec import slug, without_folders
from ..study import Study
from ..study.layout import run_folder
from ..study.numbers import StudyScores
from ..study.schema import ScoreSummary, TrainedArm, TrainingSummary
from ..study.scored import RunScores
from ..study.words.tables import as_markdown, cells_of, columns, number
from ..training.folder import is_checkpoint
from ..training.record.environment import Environment
from ..training.run import Run, data_of
from ._comparison import ExportComparison
from ._opening import lines as opening_lines

README = "README.md"
_PIPELINES = {
    ("image", "text"): "zero-shot-image-classification",
    ("image",): "image-feature-extraction",
    ("text",): "feature-extraction",
}
_MOST_ROWS, _MOST_NAMED = 40, 12
"""Rows of the table of results, and entries of a line about the data; there may be hundreds."""
_LISTED = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """The origin of a model: a reference, and the run and the data behind it.

    Attributes:
        reference: as the user wrote it, without folders.
        run: of which it is the result; None for a model of another library.
        folder: of the run.
        data: of the run; None where it is not on this machine any more.
        earlier: the checkpoint, where it is not the run's newest one: the run's scores are not its own.
    """

    reference: str
    run: Run | None = None
    folder: Path | None = None
    data: Data | None = None
    earlier: str = ""

    @classmethod
    def of(cls, reference: str) -> Origin:
        """Find the run and the data behind a reference."""
        folder = run_of(reference)
        if folder is None:
            return cls(_plain(reference))
        run = Run.read(folder)
        try:
            data = load_any(data_of(folder))
        except (OSError, ValueError, LookupError, ImportError):  # gone, changed, not installed
            data = None
        path, newest = Path(reference.removeprefix("run:")), latest_checkpoint(folder / "checkpoint")
        earlier = path.name if is_checkpoint(path) and newest is not None and path.name != newest.name else ""
        return cls(Arm.parse(run.arm).label, run, folder, data, earlier)

    @property
    def attribution(self) -> str:
        """The line on whose the data is; empty where it has none, or is not here."""
        return self.data.attribution if self.data is not None else ""


def write_card(
    folder: Path,
    model: TowerMethod,
    origin: Origin,
    layout: Layout,
    *,
    name: str,
    location: str,
    on_hub: bool,
    licence: str | None,
    left_out: Sequence[str],
    compared: ExportComparison,
) -> None:
    """Write the card of an export into its folder.

    Args:
        folder: with all that was written.
        model: that was exported.
        origin: of the model.
        layout: that it is in.
        name: of the layout.
        location: of the export: a folder, or a name on the hub.
        on_hub: whether that is a name on the hub.
        licence: of the model; None where none was chosen.
        left_out: what of the model the layout has no place for.
        compared: embeddings of the model with those of the export.
    """
    scores = _scores(origin)
    parts = [
        f"# {Path(location).name}",
        _what(model, origin, layout, name, compared.differences),
        "## Load it",
        _loading(model, layout, location, compared, on_hub=on_hub),
        *_section("Left out", [f"- {phrase}" for phrase in left_out]),
        *_section("Results", list(_results(origin, scores))),
        *_section("Training", list(_training(origin))),
        *_section("Data", list(_data(origin))),
        "## Licence",
        _licence(licence, origin),
        *_section("Papers", list(_papers(model))),
        "## Files",
        "\n".join(as_markdown([["file", "bytes"], *_files(folder)])),
        f"Written by counterpoint {__version__}.",
    ]
    block = _metadata(model, origin, layout, location=location, licence=licence, scores=scores)
    front = yaml.safe_dump(block, sort_keys=False, allow_unicode=True)
    (folder / README).write_text(f"---\n{front}---\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def listed(folder: Path) -> set[str]:
    """Return the files that the card of an export lists, itself included."""
    text = (folder / README).read_text(encoding="utf-8")
    return {README, *_LISTED.findall(text.rpartition("## Files")[2])}


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(lines)] if lines else []


def _what(
    model: TowerMethod, origin: Origin, layout: Layout, name: str, differences: Mapping[str, float]
) -> str:
    modalities = " and ".join(dict.fromkeys(noun_of(model.tower(column).modality) for column in model.embeds))
    shared = ", into one space" if model.shares_space else ""
    made = f"trained as `{origin.reference}`" if origin.run is not None else f"`{origin.reference}`"
    names = {tower.modality: tower.name for tower in map(model.tower, model.embeds) if tower.name}
    towers = "; ".join(f"{modality}: `{_plain(name)}`" for modality, name in names.items())
    compared = ", ".join(f"{modality} {value:.0e}" for modality, value in differences.items())
    if layout.replies:
        named = "; ".join(
            f"{tower.modality}: `{_plain(tower.name)}`" for tower in map(model.tower, model.columns)
        )
        return (
            f"A model that replies to requests about pictures: {made}, in the layout {name}.\n\n- towers: {named}\n"
            f"- fingerprint: `{model.fingerprint}`\n"
            f"- read back and compared with the model; largest difference of logits at unit norm: {compared}"
        )
    sizes = [f"embeddings of {model.width} numbers at unit norm"]
    sizes += [f"pictures of {model.picture_size} pixels"] if model.picture_size else []
    sizes += [f"texts of at most {model.context} tokens"] if model.context else []
    return (
        f"An encoder of {modalities}{shared}: {made}, in the layout {name}.\n\n"
        f"- {', '.join(sizes)}\n- towers: {towers or 'not named'}\n- fingerprint: `{model.fingerprint}`\n"
        f"- read back and compared with the model on pictures and texts; largest difference of embeddings: {compared}"
    )


def _loading(
    model: TowerMethod, layout: Layout, location: str, compared: ExportComparison, *, on_hub: bool
) -> str:
    folder = f'huggingface_hub.snapshot_download("{location}")' if on_hub else f'"{Path(location).name}"'
    first = ["import huggingface_hub", ""] if on_hub else []
    use, after = layout.use(model, 'open_rgb("picture.jpg")'), []
    if any("open_rgb(" in line for line in use):
        first = [*first, *opening_lines()]
        after = ["", _opening(compared)]
    if custom := layout.custom_code(model):
        after += ["", f"This export needs the package counterpoint, because of {custom}."]
    return "\n".join(["```python", *first, f"folder = {folder}", *use, "```", *after])


def _opening(compared: ExportComparison) -> str:
    """Say what differs where a picture file is opened without `open_rgb`."""
    differing = {kind: gap for kind, gap in compared.opened.items() if gap < math.inf}
    refused = [kind for kind in compared.opened if kind not in differing]
    parts = []
    if differing:
        numbers = ", ".join(f"{kind} {gap:.0e}" for kind, gap in differing.items())
        parts.append(f"embeddings of these files differ from the model's by up to: {numbers}")
    if refused:
        parts.append(f"these files raise an error: {', '.join(refused)}")
    text = "`open_rgb` opens a file as the model does: upright, on white, in sRGB, with 8 bits a channel."
    if parts:
        text += f" Where `PIL.Image.open` alone opens them, {'; '.join(parts)}."
    return f"{text} Scale grey pictures of 32 bits a pixel (TIFF) to 8 bits first."


def _scores(origin: Origin) -> list[ScoreSummary]:
    """Return every number of the run itself, with its interval over the test examples."""
    if origin.folder is None or origin.run is None or origin.earlier:
        return []
    if not (origin.folder / "scores.json").is_file():
        return []
    name = origin.run.arm
    return StudyScores({name: {origin.run.seed: RunScores(origin.folder)}}, 0.0, fixed=[name]).metrics(name)


def _of_study(origin: Origin) -> tuple[TrainedArm | None, TrainingSummary | None]:
    """Return the arm of the study in whose folder the run lies, and the study's summary; None where it lies in none."""
    if origin.folder is None or origin.run is None:
        return None, None
    path, run = origin.folder.resolve(), origin.run
    study = path.parent.parent.parent
    if run_folder(study, Arm.parse(run.arm).slug, run.seed) != path or not (study / "summary.json").is_file():
        return None, None
    summary = Study.read(study).summary
    if not isinstance(summary, TrainingSummary):
        return None, None
    named = {Arm.parse(run.arm).label, run.arm}
    return next((arm for arm in summary.arms if arm.name in named), None), summary


def _main(scores: Sequence[ScoreSummary]) -> list[ScoreSummary]:
    return [score for score in scores if score.subset == "all" and score.mean is not None][:_MOST_ROWS]


def _results(origin: Origin, scores: Sequence[ScoreSummary]) -> Iterator[str]:
    if not scores:
        return
    arm, summary = _of_study(origin)
    seeds = sorted({int(seed) for score in arm.metrics for seed in score.seeds}) if arm is not None else []
    of_arm = [f"mean of its arm, {counted(len(seeds), 'seed')}"] if arm is not None else []
    rows = [["task", "test", "metric", "value", "95 % interval", *of_arm, "chance", "examples"]]
    for score in _main(scores):
        value, low, high = cells_of(score)
        means = []
        if arm is not None:
            of_all = arm.score(score.key)
            means = [number(None if of_all is None else of_all.mean, score.metric)]
        chance = number(score.chance, score.metric)
        rows.append(
            [score.task, score.test, score.metric, value, f"{low} to {high}", *means, chance, str(score.n)]
        )
    yield from as_markdown(rows)
    if (total := sum(score.mean is not None for score in scores)) > len(rows) - 1:
        yield f"\nOf {total} numbers in all; the others are of further tests and of subsets of the examples."
    yield ""
    yield (
        "Values are of this one run; the intervals are over its test examples, and say nothing of other training runs."
    )
    if arm is None or summary is None:
        return
    assert origin.run is not None
    yield (
        f"The mean of its arm is over the runs of its study with the seeds {', '.join(map(str, seeds))}; this run has "
        f"seed {origin.run.seed}. The verdicts of the study are about arms, over seeds and examples."
    )
    shown = columns(summary)
    verdicts = [d.sentence for d in summary.differences if d.key in shown and arm.name in (d.a, d.b)]
    if verdicts:
        yield ""
        yield from (f"- {sentence}" for sentence in verdicts)
        yield f"\n{summary.multiplicity}"


def _training(origin: Origin) -> Iterator[str]:
    if origin.run is None or origin.folder is None:
        return
    recipe = _shown(origin.run.recipe.model_dump())
    earlier = (
        f", as its checkpoint {origin.earlier} has it, which was not evaluated" if origin.earlier else ""
    )
    yield f"Arm `{origin.reference}`, seed {origin.run.seed}{earlier}, under this recipe:\n"
    yield f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False).rstrip()}\n```"
    try:
        environment = Environment.read(origin.folder)
    except ValueError:
        return
    stated = environment.model_dump()
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    yield f"\nPython {stated.get('python')}, {stated.get('device')}, {stated.get('date')}: {packages}."


def _shown(value: Any) -> Any:
    """Return a recipe without the folders in it.

    >>> _shown({"towers": {"image": "cnn@/me/runs/first", "text": "transformers:/me/models/small"}})
    {'towers': {'image': 'cnn@first', 'text': 'transformers:small'}}
    """
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    return _plain(value) if isinstance(value, str) else value


def _data(origin: Origin) -> Iterator[str]:
    if origin.run is None:
        return
    if origin.data is None:
        yield f"`{short_name(origin.run.data)}`, which was not at hand when this card was written."
        return
    yield f"- name: {short_name(origin.run.data)}"
    for title, values in origin.data.describe().items():
        pairs = values.items() if isinstance(values, dict) else [("", values)]
        shown = [f"{key} {value}".strip() for key, value in pairs if not _is_path(value)]
        more = [f"… {len(shown)} in all"] if len(shown) > _MOST_NAMED else []
        if shown:
            yield f"- {title}: {'; '.join([*shown[:_MOST_NAMED], *more])}"


def _plain(reference: str) -> str:
    """Return a model's or a tower's name without folders.

    >>> _plain("transformers:/models/clip"), _plain("open_clip:ViT-B-32@a/b.pt"), _plain("timm:org/name@hub")
    ('transformers:clip', 'open_clip:ViT-B-32@b.pt', 'timm:org/name@hub')
    >>> _plain("transformers:models/the first, small")
    'transformers:the first, small'
    """
    library, colon, name = reference.rpartition(":")
    named = name if name.endswith("@hub") else without_folders(name)
    return f"{library}{colon}{named}"


def _is_path(value: object) -> bool:
    return isinstance(value, str) and Path(value).is_absolute()


def _licence(licence: str | None, origin: Origin) -> str:
    statement = f"`{licence}`" if licence else "None was chosen, so nobody may use this model until one is."
    attribution = origin.attribution
    if attribution:
        return f"{statement}\n\nOf the data: {attribution}."
    unread = origin.run is not None and origin.data is None
    return f"{statement}\n\nWhat the data's licence asks for is not known here." if unread else statement


def _papers(model: TowerMethod) -> Iterator[str]:
    parts = [model, *(part for part in model.modules() if isinstance(part, Method | Loss))]
    for name in dict.fromkeys(paper for part in parts for paper in part.papers):
        paper = catalog.paper(name)
        yield f"- {paper.title} ({paper.year}), [arXiv:{paper.arxiv}]({paper.url})"


def _files(folder: Path) -> Iterator[list[str]]:
    """Yield the files of an export; the manifest, which has the size of the others, is written last."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = file.relative_to(folder).as_posix()
        if inside not in (README, MANIFEST):
            yield [f"`{inside}`", f"{file.stat().st_size:,}"]
    yield [f"`{MANIFEST}`", "–"]


def _metadata(
    model: TowerMethod,
    origin: Origin,
    layout: Layout,
    *,
    location: str,
    licence: str | None,
    scores: Sequence[ScoreSummary],
) -> dict[str, Any]:
    from huggingface_hub import EvalResult, ModelCardData

    modalities = tuple(dict.fromkeys(model.tower(column).modality for column in model.embeds))
    tags = ["counterpoint", *modalities, *(["contrastive-learning"] if model.shares_space else [])]
    data = "" if origin.run is None else short_name(origin.run.data)
    results = [
        EvalResult(
            task_type=score.task.replace("_", "-"),
            dataset_type=slug(data, data).lower(),
            dataset_name=f"{data}, {score.test}",
            metric_type=score.metric,
            metric_name=f"{score.task} {score.metric}",
            metric_value=round(float(score.mean), 4),
        )
        for score in _main(scores)
        if score.mean is not None
    ]
    card = ModelCardData(
        license=licence,
        library_name=layout.library,
        tags=tags + ([Arm.parse(origin.run.arm).method] if origin.run is not None else []),
        pipeline_tag="image-text-to-text"
        if layout.replies
        else _PIPELINES.get(tuple(sorted(modalities)), "feature-extraction"),
        model_name=Path(location).name,
        eval_results=results or None,
    )
    return dict(yaml.safe_load(card.to_yaml()))
