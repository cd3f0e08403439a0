"""A model to a folder in another library's layout, which is whole, and read back, or not there."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from ..execution.folders import check_writable
from ..extras import missing_package
from ..files import writing_folder
from ..interop._layout import MOST
from ..interop._layout import Layout as Layout
from ..methods.tower_method import TowerMethod
from ..models import load
from ..registry import Registry, require
from ._card import Origin, write_card
from ._comparison import ExportComparison, compare
from ._left_out import left_out
from ._licence import check

LAYOUTS = Registry("layout", "counterpoint.interop", from_stub=True, ending="Layout")
"""Layouts, by the names of their files."""


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        folder: where it stands.
        layout: the layout's name.
        differences: the largest difference between the model's unit-norm embeddings and those of what was written, by
            modality, on pictures from files and on texts.
        left_out: what of the model the layout has no place for.
        needs_counterpoint: whether it can be read only where this package is installed.
    """

    folder: Path
    layout: str
    differences: Mapping[str, float]
    left_out: tuple[str, ...]
    needs_counterpoint: bool


@dataclass(frozen=True)
class Possibility:
    """Answer to whether a layout can hold a model.

    Attributes:
        refusal: the reason why not; empty where it can.
        needs_counterpoint: whether an export can be read only where this package is installed.
    """

    refusal: str
    needs_counterpoint: bool


def export(
    reference: str | os.PathLike[str],
    layout: str,
    out: str | os.PathLike[str],
    *,
    licence: str | None = None,
    repository: str | None = None,
    allow_custom_code: bool = False,
) -> ExportResult:
    """Export a model to another library's layout.

    The folder is read back by that library, and embeddings of pictures of every kind and of texts are compared; the
    folder appears when they are the same to 10⁻⁵, and whole, with a card (``README.md``) that says what the model is,
    what it was trained on, and how to load it.

    Args:
        reference: a model as `counterpoint.load` takes it.
        layout: a name of `LAYOUTS`.
        out: a folder that does not exist.
        licence: of the model, by the hub's identifier (``apache-2.0``, ``cc-by-sa-4.0``, …, ``other``).
        repository: a name on the hub, for a folder that goes there and is loaded from there alone.
        allow_custom_code: export a model that the other library can load with this package alone.

    Raises:
        UnknownNameError: for a layout or a licence that is not known.
        MissingPackageError: for one whose packages are not installed.
        FileExistsError: for a folder that exists.
        OSError: for one that cannot be written.
        ValueError: for a model that cannot be loaded, that the layout cannot hold, or whose embeddings changed; for one
            that needs this package, unless that is allowed; for a licence that the attribution of the data contradicts.
    """
    target: Layout = LAYOUTS.get(layout)()
    folder = Path(out)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: give another folder with --out, or remove it")
    check_writable(folder)
    for package, extra in target.packages.items():
        require(package, extra)
    model = opened(reference, merged=target.merges)
    if why := target.refusal(model):
        raise ValueError(f"{os.fspath(reference)} cannot be exported to {layout}: {why}")
    custom = target.custom_code(model)
    if custom and not allow_custom_code:
        raise ValueError(
            f"{layout} can load this export only where counterpoint is installed, because of {custom}: give "
            "--allow-custom-code to export it all the same, or choose another layout (counterpoint export MODEL lists "
            "them)"
        )
    origin = Origin.of(os.fspath(reference))
    if licence is not None:
        check(licence, origin.attribution)
    name = LAYOUTS.reference(layout).partition(":")[0].rpartition(".")[2].replace("_", "-")
    with writing_folder(folder) as part:
        target.write(model, part)
        target.settle(part, str(part))
        compared = _read_back(model, target, part, layout)
        target.settle(part, repository or str(folder.resolve()))
        phrases = [*left_out(model, target), *(_extreme(kind, gap) for kind, gap in compared.extreme.items())]
        needs = target.needs_counterpoint(model)
        exported = ExportResult(folder, name, compared.differences, tuple(phrases), needs)
        write_card(
            part,
            model,
            origin,
            target,
            name=name,
            location=repository or folder.name,
            on_hub=repository is not None,
            licence=licence,
            left_out=exported.left_out,
            compared=compared,
        )
    return exported


def opened(reference: str | os.PathLike[str], merged: bool = False) -> TowerMethod:
    """Load a model as layouts take it, on the processor.

    Args:
        reference: a model as `counterpoint.load` takes it.
        merged: puts low-rank updates into the weights that they are of.
    """
    model = load(reference).cpu().eval()
    return _merged(model) if merged else model


def _merged(model: TowerMethod) -> TowerMethod:
    """Put low-rank updates into the weights that they are of, in place."""
    done: list[str] = []
    for name, part in list(model.named_modules()):
        if not hasattr(part, "get_base_layer") or any(name.startswith(f"{outer}.") for outer in done):
            continue
        done.append(name)
        if hasattr(
            part, "unload_and_optionally_merge_module"
        ):  # an attention layer, which holds a further one
            whole: nn.Module = part.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
        else:
            part.merge()
            whole = part.get_base_layer()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, whole)
    return model


def _extreme(kind: str, difference: float) -> str:
    by = "the library raises an error" if math.isinf(difference) else f"embeddings differ by {difference:.0e}"
    return f"pictures like the sample {kind!r}: {by}"


def _read_back(model: TowerMethod, target: Layout, folder: Path, layout: str) -> ExportComparison:
    """Return how far embeddings by the model and by who reads the folder differ.

    Raises:
        ValueError: where it cannot be read, or embeds differently; it says by how much.
    """
    try:
        compared = compare(model, target, folder)
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:  # whatever another library raises
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"nothing was exported: what was written for {layout} is not read back: {first}"
        ) from error
    gaps = compared.differences.items()
    wrong = [f"{modality} by {value:.1e}" for modality, value in gaps if not value <= MOST]
    if wrong:
        raise ValueError(
            f"nothing was exported: what {layout} reads back embeds differently ({', '.join(wrong)}, more than "
            f"{MOST:.0e}); this is a fault of the export, or of the versions of the two libraries"
        )
    return compared


def possibilities(model: TowerMethod) -> dict[str, Possibility]:
    """Return whether each layout can hold a model, by the layout's name; low-rank updates are merged on the way."""
    found = {}
    layouts: dict[str, Layout] = {name: LAYOUTS.get(name)() for name in LAYOUTS.names()}
    for name, layout in sorted(layouts.items(), key=lambda item: item[1].merges):
        if layout.merges:
            _merged(model)
        missing = [package for package in layout.packages if find_spec(package) is None]
        refusal = (
            missing_package(missing[0], layout.packages[missing[0]]) if missing else layout.refusal(model)
        )
        needs = not refusal and layout.needs_counterpoint(model)
        found[name] = Possibility(refusal, needs)
    return {name: found[name] for name in layouts}
