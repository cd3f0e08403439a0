"""The moment at which timm hears of the built-in towers: as soon as timm is imported, by whomever.

``import counterpoint`` is to make an exported folder readable by timm and open_clip, and is not to load timm and
PyTorch, which take seconds: so a finder waits for timm's import and registers the towers after it.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class WhenTimm(MetaPathFinder):
    """Finder that finds timm where Python does, and registers the towers once timm has been loaded.

    The finder stays in its place: libraries also look for timm without loading it.
    """

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "timm" else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: ModuleType) -> None:
                load(module)
                from . import _in_timm  # noqa: F401 # registers

            spec.loader.exec_module = load_and_register  # type: ignore[method-assign] # of this one loader
        return spec


if "timm" in sys.modules:
    from . import _in_timm  # noqa: F401 # registers
else:
    sys.meta_path.insert(0, WhenTimm())
