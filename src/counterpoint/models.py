"""Models by what a user calls them: a run, or a model of open_clip, timm, transformers, sentence-transformers."""

from __future__ import annotations

import os
from pathlib import Path

from . import files
from .interop._loader import ModelLoader
from .interop._pretrained import Pretrained
from .interop.safetensors import ModelManifest
from .methods.tower_method import TowerMethod
from .modalities import LIBRARIES
from .networks.weights import has_weights
from .registry import UnknownNameError
from .training.folder import is_checkpoint, is_run, not_a_run
from .trust import everything

__all__ = [
    "KINDS",
    "ModelLoader",
    "ModelManifest",
    "Pretrained",
    "kind_of",
    "load",
    "run_of",
    "towers_of",
]

KINDS = LIBRARIES
"""Kinds of model: each is a `ModelLoader` of `counterpoint.interop`."""


def load(reference: str | os.PathLike[str], *, trust: bool = False) -> TowerMethod:
    """Load a model that can ``embed``: a trained run, or one of another library, with that library's own preprocessing.

    ============================================  ==============================================================
    ``runs/mine``                                 a run's folder: its newest checkpoint
    ``runs/mine/checkpoint/step-0000100``         one checkpoint of a run
    ``mine``                                      a folder that was exported to safetensors
    ``open_clip:NAME@TAG``, ``…@PATH``            a pair of open_clip, of published weights, a file or a folder
    ``transformers:PATH``, ``…:NAME@hub``         a dual encoder (CLIP, SigLIP, VisionTextDualEncoder and their
                                                  kin), or a text encoder
    ``sentence-transformers:PATH``,               a sentence encoder, or a dual encoder that its library saved
    ``…:NAME@hub``
    ``timm:NAME@hub``, ``…@package``, ``…@PATH``  an encoder of pictures
    ``resemblyzer:ge2e@package``, ``…@PATH``      an encoder of voices
    ``fracast:fracast-0@package``, ``…@PATH``     an encoder of series
    ``mine``                                      a folder of any of these libraries, as `counterpoint.export` writes it
    ============================================  ==============================================================

    The model says what it is: ``embeds`` (its columns), ``width``, ``picture_size``, ``context``, ``shares_space``,
    ``reference`` (what it was named, its path from the root), and ``fingerprint``, a digest of weights, preprocessing
    and tokenizers. Only what ``@hub`` or a tag names is downloaded;
    weights are safetensors, or read as weights alone; code that lies beside them never runs.

    Args:
        reference: the model.
        trust: import the Python files that the folder of a run names, such as its loss; without it, only files that a
            run of yours has used are imported (see `counterpoint.trust`).

    Raises:
        UntrustedError: for a Python file that the folder names and the user did not allow.
        UnknownNameError: for a kind, or a library's name, that is not known.
        MissingPackageError: for weights in a package that is not installed.
        ValueError: for a folder that is no model, a run without a checkpoint, and weights that are missing, broken, or
            of another architecture; in one line, which names the command that fetches what is not on this machine.
    """
    text = os.fspath(reference)
    kind = kind_of(text)
    with everything(trust):
        model = kind.load(text if kind.holds(Path(text)) else text.partition(":")[2])
    model.reference = _rooted(text)
    return model


def kind_of(text: str) -> ModelLoader:
    """Return the kind of a model, by what stands before the colon or by what lies in the folder; nothing is loaded.

    Raises:
        UnknownNameError: for a kind that is not known.
        ValueError: for a folder that is no model, and a kind without a name.
    """
    kinds: dict[str, ModelLoader] = {name: KINDS.get(name)() for name in KINDS.names()}
    for kind in kinds.values():
        if kind.holds(Path(text)):
            return kind
    name, colon, rest = text.partition(":")
    forms = "; ".join(kind.form for kind in kinds.values())
    if not colon or Path(text).exists():
        raise ValueError(f"{not_a_run(Path(text))}. Models are written {forms}")
    if name not in KINDS:
        raise UnknownNameError(
            f"{text}: there is no folder of that name, and no kind of model {name!r}; write {forms}"
        )
    named_kind = kinds[name.replace("_", "-")]
    if not rest.partition("@")[0]:
        raise ValueError(f"{text} names no model; write {named_kind.form}")
    return named_kind


def towers_of(text: str) -> str:
    """Return the name by which an arm builds the towers of a folder, ``LIBRARY:NAME@PATH``; other names as they are.

    So is the name of a folder of a configuration alone, after its library: its towers are built of random weights.

    Raises:
        UnknownNameError, ValueError: for a folder that is no model, or one that no towers are built of.
    """
    if Path(text).is_dir():
        return kind_of(text).towers(text)
    named = text.partition(":")[2]
    return kind_of(text).towers(named) if named and has_weights(Path(named).expanduser()) else text


def _rooted(text: str) -> str:
    """Return a reference with its path from the root: a folder, or what stands after the kind or after the @."""
    for mark in ("", ":", "@"):
        head, separator, path = text.partition(mark) if mark else ("", "", text)
        if path and Path(path).expanduser().exists():
            return f"{head}{separator}{Path(path).expanduser().absolute()}"
    return text


def run_of(reference: str) -> Path | None:
    """Return the folder of the run that a reference names; None for another model."""
    path = Path(reference.removeprefix("run:"))
    if is_checkpoint(path):
        return files.run_of(path)
    return path if is_run(path) else None
