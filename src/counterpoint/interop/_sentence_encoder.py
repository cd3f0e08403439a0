"""Folders of ``sentence-transformers``: how token states become one vector there, and what comes after."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import nn

from ..networks.base import Pooling, TextTower
from ..networks.exported import NotExportableError
from ._hugging_face import ModelFiles

_MODES: dict[str, Pooling] = {
    "cls": "first",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "weighted_mean",
    "lasttoken": "end",
}
"""Names of the poolings in ``sentence-transformers``, and their names here."""


def pooling_in_sentence_transformers(tower: TextTower) -> str:
    """Return the name that sentence-transformers has for a tower's pooling.

    Raises:
        NotExportableError: for a tower that has a way of its own.
    """
    named = next((name for name, pooling in _MODES.items() if pooling == tower.pooling), None)
    if named is None:
        raise NotExportableError(f"sentence-transformers has no name for the pooling {tower.pooling!r}")
    return named


_ADDED = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "weightedmean": "weightedmean_tokens",
}
"""Names of some poolings in ``sentence-transformers`` before version 6, each a key ``pooling_mode_…`` of its own."""


def pooling_of(files: ModelFiles) -> Pooling | None:
    """Return what a ``sentence-transformers`` folder says about pooling; None where it is none.

    Raises:
        ValueError: if it pools in a way that is not known here, or does more than pool.
    """
    listed = files.json("modules.json")
    kinds = [(str(m["type"]).rpartition(".")[2], str(m["path"])) for m in listed or ()]
    further = sorted({kind for kind, _ in kinds} - {"Transformer", "Pooling", "Dense", "Normalize"})
    if further:
        raise ValueError(f"its sentence encoder has parts that are not read here: {', '.join(further)}")
    return pooling_at(files, next((path for kind, path in kinds if kind == "Pooling"), "1_Pooling"))


def pooling_at(files: ModelFiles, folder: str) -> Pooling | None:
    """Return what the folder of a pooling module says; None where there is none.

    Raises:
        ValueError: if it pools in a way that is not known here.
    """
    settings = files.json(f"{folder}/config.json")
    if settings is None:
        return None
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for mode in _MODES if settings.get(f"pooling_mode_{_ADDED.get(mode, mode)}")] or "mean"
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) != 1 or modes[0] not in _MODES:
        raise ValueError(
            f"its sentence encoder pools by {' and '.join(modes)}; here by one of {', '.join(_MODES)} alone"
        )
    return _MODES[modes[0]]


def dense_of(files: ModelFiles) -> nn.Linear | None:
    """Return the linear layer that a ``sentence-transformers`` folder puts after the pooling; None where there is none.

    Raises:
        ValueError: for several, and for one that is not linear or reads something else.
    """
    listed = files.json("modules.json") or ()
    folders = [str(m["path"]) for m in listed if str(m["type"]).endswith(".Dense")]
    if not folders:
        return None
    if len(folders) > 1:
        raise ValueError(
            f"its sentence encoder has parts that are not read here: Dense ({len(folders)} in all)"
        )
    return linear_of(files, f"{folders[0]}/")


def linear_of(files: ModelFiles, folder: str = "") -> nn.Linear:
    """Return the linear layer in the folder of a ``Dense`` module.

    Raises:
        ValueError: for one that is not linear or reads something else.
    """
    settings = files.json(f"{folder}config.json") or {}
    activation = str(settings.get("activation_function", "")).rpartition(".")[2]
    plain = settings.get("module_input_name", "sentence_embedding") == "sentence_embedding"
    if activation != "Identity" or settings.get("use_residual") or not plain:
        raise ValueError(f"its sentence encoder has parts that are not read here: Dense ({activation})")
    weights = load_file(files.path(f"{folder}model.safetensors"))
    layer = nn.Linear(settings["in_features"], settings["out_features"], bool(settings["bias"]))
    layer.load_state_dict({name.removeprefix("linear."): weight for name, weight in weights.items()})
    return layer
