"""The parts of a model that no layout has a place for: other heads, and what only training uses."""

from __future__ import annotations

import torch
from torch import nn

from ..interop._layout import Layout
from ..methods.base import Method
from ..methods.tower_method import TowerMethod
from ..pairwise import Temperature
from ..reasons import counted

_KEPT = ("towers", "objective")


def left_out(model: TowerMethod, layout: Layout) -> list[str]:
    """Return what an export leaves out of a model, a phrase each; nothing is left out that is not said."""
    phrases = [] if layout.keeps_heads else [f"the head {name!r}" for name in model.heads[1:]]
    heads = set() if layout.replies else _parts_of_heads(model)
    phrases += [
        f"{name} ({type(part).__name__}), which only training uses"
        for name, part in model.named_children()
        if name not in (*_KEPT, *heads, *layout.keeps) and _has_state(part)
    ]
    if model.dropout:
        phrases.append("dropout in the text tower, which only training uses")
    if type(model).similarity is not Method.similarity:
        phrases.append("its own score of a pair: others compare embeddings by their cosine")
    scales = [part for part in model.modules() if isinstance(part, Temperature)]
    if scales and not layout.keeps_scale:
        phrases.append("the temperature and the bias of similarities, which embeddings do not depend on")
    elif len(scales) > 1:
        phrases.append(f"{counted(len(scales) - 1, 'temperature')} beside the first")
    return [*phrases, *layout.leaves_out(model)]


def _parts_of_heads(model: TowerMethod) -> set[str]:
    """Return the names of the parts of a model that its heads are made of."""
    run: set[str] = set()
    hooks = [
        part.register_forward_pre_hook(lambda _, __, name=name: run.add(name.partition(".")[0]))
        for name, part in model.named_modules()
        if name
    ]
    try:
        for column in model.embeds:
            # Methods that compare parts of examples have several vectors of each.
            parts = () if type(model).features is TowerMethod.features else (1,)
            features = torch.zeros(2, *parts, model.tower(column).width)
            for head in model.heads:
                model.project(column, features, head)
    finally:
        for hook in hooks:
            hook.remove()
    return run


def _has_state(part: nn.Module) -> bool:
    return next(part.parameters(), None) is not None or next(part.buffers(), None) is not None
