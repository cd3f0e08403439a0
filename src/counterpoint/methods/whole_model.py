"""A whole vision-language model of transformers that an arm goes on from (``sft,from=PATH``)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import load

if TYPE_CHECKING:
    from .tower_method import TowerMethod

TINY = "tiny-vlm"
"""The name of the model that comes with the package."""
_PARTS = "counterpoint.interop._whole"


def whole_model(origin: str) -> Path | None:
    """Return the folder of a vision-language model that an arm names to go on from; None for anything else.

    Raises:
        ValueError: for a folder of such a model of another class than LLaVA.
    """
    if origin == TINY:
        from ..networks.tiny_vlm import default_model_path

        return default_model_path()
    folder = Path(origin).expanduser() if origin else None
    if folder is None or not (folder / "config.json").is_file() or (folder / "recipe.yaml").exists():
        return None
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    made = next(iter(config.get("architectures") or ()), "")
    if made == "LlavaForConditionalGeneration":
        return folder
    if made.endswith("ForConditionalGeneration") and "vision_config" in config:
        raise ValueError(
            f"{origin} is a {made}: an arm goes on from a LLaVA, a vision model and a language model with a projector "
            "between them"
        )
    return None


def parts_of(named: str, folder: Path, stated: Collection[str], towers: Collection[str]) -> dict[str, str]:
    """Return the towers of a whole model by modality.

    Args:
        named: the arm, for errors.
        folder: of the model.
        stated: the options that the arm states.
        towers: modalities whose towers the arm names.

    Raises:
        ValueError: for an arm that names a part of the model itself.
    """
    words = {"image": "image", "talk": "lm"}
    given = [words.get(it, it) for it in towers if it in words] + [it for it in ("bridge",) if it in stated]
    if given:
        raise ValueError(
            f"{named}: {given[0]}= and from= of a whole model both name its parts: leave {given[0]} out"
        )
    return dict.fromkeys(words, f"transformers:llava@{folder}")


def bridge_of(folder: Path) -> str:
    """Return the name of the bridge that a whole model has."""
    return str(load(f"{_PARTS}:bridge_kind")(folder))


def lend_bridge(method: TowerMethod, folder: Path, named: str) -> None:
    """Read the projector of a whole model into the bridge of a method.

    Raises:
        ValueError: for a method whose bridge is none of ``linear`` and ``mlp``.
    """
    weights: Mapping[str, Any] = load(f"{_PARTS}:projector")(folder)
    bridges = [part for name, part in method.named_modules() if name.startswith("bridge_projections.")]
    if not bridges or bridges[0].state_dict().keys() != weights.keys():
        raise ValueError(
            f"{named}: its method has a bridge of its own, and from= of a whole model brings another one"
        )
    bridges[0].load_state_dict(weights)
