"""Checks of open_clip's weights: mismatches that open_clip warns of at most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import safe_open
from torch import nn

from ...weights import TowerSource


def check_activation(source: TowerSource, tag: str) -> None:
    """Check that a model computes the activation that its published weights were trained with.

    Raises:
        ValueError: if not; open_clip itself only warns.
    """
    import open_clip

    trained = bool(open_clip.get_pretrained_cfg(source.name, tag).get("quick_gelu"))
    if trained != bool((open_clip.get_model_config(source.name) or {}).get("quick_gelu")):
        plain = source.name.removesuffix("-quickgelu")
        raise ValueError(
            f"tower {source}: these weights were trained with {'QuickGELU' if trained else 'GELU'}, and the model has "
            f"the other; write open_clip:{plain}{'-quickgelu' if trained else ''}@{tag}"
        )


def check_form(source: TowerSource, file: Path) -> None:
    """Refuse an archive of TorchScript, the form in which OpenAI publishes its weights: code, and weights of QuickGELU.

    Other files of weights show nothing of the activation that they were trained with.

    Raises:
        ValueError: naming the model that has it.
    """
    if not is_zipfile(file):
        return
    with ZipFile(file) as archive:
        if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
            return
    model = f"open_clip:{source.name.removesuffix('-quickgelu')}-quickgelu"
    saved = f"torch.save(open_clip.load_openai_model({str(file)!r}, 'fp32').state_dict(), 'weights.pt')"
    raise ValueError(
        f"tower {source}: this is an archive of TorchScript, which holds code and is not read here; OpenAI publishes "
        f"its models so, which were trained with QuickGELU: write {model}@openai, or save the weights of one, "
        f'python -c "import open_clip, torch; {saved}", and write {model}@weights.pt'
    )


def check_positions(model: nn.Module, path: Path) -> None:
    """Check that weights are of the model's own lengths of texts; open_clip stretches others without a word.

    Raises:
        ValueError: if they are not.
    """
    file = path
    if path.is_dir():
        names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
        file = next((path / name for name in names if (path / name).is_file()), path)
    rows = _rows(file, ("positional_embedding", "text.positional_embedding"))
    # Of classes of open_clip's own, some of which keep it in their tower of texts alone.
    context = getattr(model, "context_length", None) or getattr(
        getattr(model, "text", None), "context_length", None
    )
    if rows is not None and context is not None and rows != context:
        raise ValueError(
            f"the weights are of a model of texts of {rows} tokens, and this one reads {context}"
        )


def _rows(file: Path, names: Sequence[str]) -> int | None:
    """Return the length of the first of some tensors that a file of weights has; None where that is not known."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as opened:
            first = next((name for name in names if name in opened.keys()), None)  # noqa: SIM118 # it is no mapping
            return None if first is None else int(opened.get_slice(first).get_shape()[0])
    try:
        state = torch.load(file, map_location="meta", weights_only=True)
    except Exception:  # an older form, which open_clip read in its own way
        return None
    state = state.get("state_dict", state)
    first = next((key for name in names for key in (name, f"module.{name}") if key in state), None)
    return None if first is None else len(state[first])
