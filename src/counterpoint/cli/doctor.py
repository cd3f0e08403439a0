"""counterpoint doctor."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic.dataclasses import dataclass as form

from ..extras import extra_of, install_command, requirements
from ..forms import FORM
from ..registry import MissingPackageError
from .common.arguments import parse
from .common.terminal import Terminal

_OF_DEVELOPERS = {"dev", "docs"}
"""Extras that only work on the package itself needs."""


@form(frozen=True, config=FORM)
class DoctorOptions:
    """A report on what is installed, on devices and threads, on what is missing and the command that installs it."""

    json: bool = False
    """Print JSON instead of text, with every package."""


def main(arguments: Sequence[str]) -> int:
    options = parse(DoctorOptions, arguments, "doctor")
    state = examine()
    if options.json:
        print(json.dumps(state, indent=2))
    else:
        show(state)
    return 0 if not state["broken"] else 1


def examine() -> dict[str, Any]:
    """Return a report; ``broken`` holds what keeps the main job from running, ``missing`` what only some parts need."""
    packages, broken, missing = {}, {}, {}
    for name in sorted(requirements()[""]):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            broken[name] = f"pip install {name}"
    for name in sorted(frozenset().union(*(requirements()[extra] for extra in requirements() if extra))):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            if (extra := extra_of(name)) and extra not in _OF_DEVELOPERS:
                missing[name] = install_command(extra)
    return {
        "python": platform.python_version(),
        "packages": packages,
        "devices": _devices(broken),
        **_words(missing),
        **_packaged(broken, missing),
        **_cache(broken),
        "broken": broken,
        "missing": missing,
    }


def _devices(broken: dict[str, str]) -> dict[str, Any]:
    try:
        import torch
    except Exception as error:
        broken["torch"] = (
            f"it does not import ({error}): reinstall it with pip install --force-reinstall torch"
        )
        return {}
    return {
        "cores": os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
    }


def _words(missing: dict[str, str]) -> dict[str, Any]:
    from ..data.views import wordnet

    try:
        return {"wordnet": str(wordnet.find())}
    except MissingPackageError:
        missing["WordNet"] = install_command("words")
        return {"wordnet": None}


def _packaged(broken: dict[str, str], missing: dict[str, str]) -> dict[str, Any]:
    """Return what lies in installed packages: towers by their weights, and collections of pictures."""
    from ..data.collections import COLLECTIONS
    from ..interop._packaged import PACKAGE, packaged, packages

    towers = []
    for name, known in packages().items():
        try:
            packaged(name)
            towers.append(f"{known.library}:{name}@{PACKAGE}")
        except MissingPackageError:
            missing[name] = known.command
        except ValueError as error:
            broken[name] = str(error)
    collections = {name: COLLECTIONS.get(name) for name in COLLECTIONS.names()}
    missing |= {
        name: f"apt-get install {kind.package}"
        for name, kind in collections.items()
        if not kind.home.is_dir()
    }
    here = [name for name, kind in collections.items() if kind.home.is_dir()]
    return {"towers of packages": towers, "collections": here}


def _cache(broken: dict[str, str]) -> dict[str, Any]:
    from ..data.cache import cache_folder

    folder = cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        broken["cache"] = f"{folder} cannot be written: set COUNTERPOINT_CACHE to a folder that can"
    return {"cache": str(folder), "free disk (GB)": round(shutil.disk_usage(existing).free / 1e9, 1)}


def show(state: dict[str, Any]) -> None:
    """Print what matters for the main job, in about ten lines; ``--json`` lists every package."""
    console = Terminal()
    packages, devices = state["packages"], state["devices"]
    rows = {"versions": f"Python {state['python']}, torch {packages.get('torch', 'missing')}"}
    if devices:
        gpus = devices["cuda"] or ["Apple GPU"] * devices["mps"]
        rows["processor"] = f"{devices['cores']} cores, torch uses {devices['torch threads']}"
        rows["GPUs"] = ", ".join(gpus) or "none"
    rows |= {
        "cache": f"{state['cache']}, {state['free disk (GB)']} GB free",
        "WordNet": "found" if state["wordnet"] else "not installed",
        "packaged towers": ", ".join(map(_bare, state["towers of packages"])) or "none",
        "packaged data": ", ".join(state["collections"]) or "none",
    }
    for name, value in rows.items():
        console.print(f"{name:<16} {value}", soft_wrap=True)
    lacking: dict[str, list[str]] = {}
    for name, fix in state["missing"].items():
        lacking.setdefault(fix, []).append(name)
    for fix, names in lacking.items():
        console.print(f"{'not installed':<16} {', '.join(names)} (optional): {fix}", soft_wrap=True)
    for name, fix in state["broken"].items():
        console.print(f"BROKEN: {name}: {fix}", style="red", soft_wrap=True)
    if not state["broken"] and install_command("study") not in lacking:
        console.print(
            "Everything the main job needs is installed. All packages: counterpoint doctor --json",
            style="green",
        )


def _bare(tower: str) -> str:
    """Return the name of a packaged tower alone.

    >>> _bare("timm:tf_efficientnet_lite0@package")
    'tf_efficientnet_lite0'
    """
    return tower.partition(":")[2].partition("@")[0]
