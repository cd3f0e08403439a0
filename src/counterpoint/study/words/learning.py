"""The sources that an arm learns from, in words: columns, a label, weights that others have trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ...data.derived.labelling import Labelling
from ...files import run_of
from ...methods.arm import Arm, is_fixed
from ...modalities import MODALITIES, PAIR
from ...networks.libraries import modalities_of
from ...networks.weights import TowerSource, joined_names
from ...spec import Spec
from ...training.folder import is_checkpoint, is_run
from ...training.run import Run
from .names import is_file_loss

_ANY_LOSS = "dcl"


def learns_from(run: Run) -> str:
    """Return what an arm learns from, and what the weights were trained on that it starts from or is taught by.

    It follows from the columns and the labels that the arm's method takes, and from the towers and models that the arm
    and the recipe name.

    >>> from counterpoint.recipes import load
    >>> def told(arm, labels=""):
    ...     return learns_from(Run(arm, "emoji", load("cpu"), labels=labels))
    >>> told("clip"), told("moco"), told("supcon,on=images", "group,share=0.05")
    ('pictures and captions', 'pictures', 'pictures; group of 5 % of the rows')
    >>> told("luab", "species")
    'pictures; species and click'
    >>> told("kernel-uniformity,on=images,prior=tone+gender", "group")
    'pictures; tone and gender'
    >>> told("open_clip:ViT-B-32@openai,tune=none")
    'open_clip:ViT-B-32@openai (trained on pictures and captions)'
    """
    arm = arm_of(run.arm)
    reads = arm.reads(run.columns)
    parts = [] if is_fixed(run.arm) else [_nouns(reads)]
    labels = run.labels or (run.target.label if run.target else "")
    if not is_fixed(run.arm) and (label := _label(arm, labels)):
        parts.append(label)
    return "; ".join(dict.fromkeys([*parts, *_trained_before(run, arm, reads)]))


def arm_of(text: str) -> Arm:
    """Return an arm as its name says it, even where the file of a user's loss is not there any more.

    >>> arm_of("gone.py:MyLoss,on=images").reads()
    {'image': 'image'}

    Raises:
        FileNotFoundError: for another file that is not there.
        ValueError: for an arm that cannot be read.
    """
    try:
        return Arm.parse(text)
    except FileNotFoundError:
        spec = Spec.parse(text)
        if not is_file_loss(spec):
            raise
        # A loss in a file works on the same columns as any other loss with these options.
        return Arm.parse(str(Spec(_ANY_LOSS, spec.options)))


def _label(arm: Arm, labels: str) -> str:
    """Return the labels that an arm learns from, in words; empty for none."""
    labelling = Labelling.parse(labels) if labels else None
    label, words = (labelling.label, labelling.in_words) if labelling else ("", "")
    names = filter(None, [arm.learned(label), *arm.further])
    return " and ".join(words if name == label else name for name in names)


def _trained_before(run: Run, arm: Arm, reads: Mapping[str, str]) -> Iterator[str]:
    """Yield the towers and models with weights that an arm starts from or is taught by, and what they learned from."""
    towers = {**run.recipe.towers.names, **arm.towers}
    of_reads = (
        name
        for modality in reads.values()
        for name in joined_names(towers.get(modality, ""), MODALITIES.get(modality).tower_names)
    )
    of_options = (name for value in arm.options.values() for name in value.split("+"))
    for named in (arm.origin, *of_reads, *of_options):
        weights = TowerSource.parse(named).weights if "@" in named else named
        if weights and (is_run(Path(weights)) or is_checkpoint(Path(weights))):
            folder = run_of(Path(weights))
            yield f"{folder.name} (trained on {learns_from(Run.read(folder))})"
        elif "@" in named:
            yield f"{Spec.parse(named).label} (trained on {_elsewhere(named)})"


def _elsewhere(tower: str) -> str:
    """Return what a library's tower was trained on, as far as the library says it."""
    source = TowerSource.parse(tower)
    if (source.library, source.name) == ("transformers", "llava"):  # a whole model, which an arm goes on from
        return "pictures and conversations"
    if source.library != "timm":
        return _nouns({modality: modality for modality in modalities_of(tower)}) or "other data"
    import timm

    stated = timm.get_pretrained_cfg(source.name, allow_unregistered=True)
    if stated is None:
        return "other pictures"
    if any(word in stated.architecture for word in ("clip", "siglip")):
        return _nouns(PAIR)
    return f"{stated.num_classes:,} classes of pictures" if stated.num_classes else "other pictures"


def _nouns(columns: Mapping[str, str]) -> str:
    """Return columns in words: texts beside something are its captions.

    >>> _nouns({"image": "image"}), _nouns({"image": "image", "text": "text"}), _nouns({"text": "text"})
    ('pictures', 'pictures and captions', 'texts')
    >>> _nouns({"question": "text", "answer": "text"})
    'question and answer'
    """
    if list(columns) != list(columns.values()):
        return " and ".join(columns)
    several = len(columns) > 1
    nouns = ["captions" if several and it == "text" else MODALITIES.get(it).noun for it in columns.values()]
    return " and ".join(nouns)
