"""Methods by name: the files of this package, losses that are methods by themselves, and short names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from ..losses import LOSSES
from ..registry import Registry

if TYPE_CHECKING:
    from ..networks.base import Towers
    from ..recipes.schema import Recipe
    from ..types import Target
    from .tower_method import TowerMethod

SHORT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    **{f"{name}-rocket": (name, {"improved": "true"}) for name in ("siamlip", "byolip", "barlip")},
    "metrix": ("multi-similarity", {"mix": "0.4"}),
    "susana": ("protonet", {"terms": "cross/triplet/icnn"}),
    "swalip-rocket": ("swalip", {"improved": "true", "prototypes": "0"}),
}
"""Short names: of a method with options."""

TOWERS: Mapping[str, Mapping[str, str]] = {
    "clippo": {"text": "pixels"},
    "vlm2vec": {"image": "lm", "text": "lm"},
}
"""Towers by modality that a method reads with unless an arm names others; all others are the recipe's."""


_SHARED = (
    "arm",
    "base",
    "classifying",
    "dual_encoder",
    "frozen",
    "needs",
    "single_loss",
    "tower_method",
    "user_loss",
)
"""Files that methods are made of."""


class _Methods(Registry):
    """The files of this package, and the losses that need nothing but views of the examples."""

    def __init__(self) -> None:
        super().__init__("method", "counterpoint.methods", exclude=_SHARED, from_stub=True)

    @cached_property
    def _references(self) -> dict[str, str]:
        # A name that a method and a loss share (siglip) means the method, which has the paper's heads and views.
        methods = super()._references
        losses = (name for name in LOSSES.names() if name not in methods)
        return methods | {name: LOSSES.reference(name) for name in losses if LOSSES.stated(name, "is_method")}

    def names(self) -> tuple[str, ...]:
        return tuple(sorted([*self.modules, *SHORT]))

    def __contains__(self, name: object) -> bool:
        return name in SHORT or super().__contains__(name)

    def reference(self, name: str) -> str:
        return super().reference(self.resolve(name)[0])

    def about(self, name: str) -> str:
        if name not in SHORT:
            return super().about(name)
        method, options = SHORT[name]
        return f"Short for {','.join([method, *(f'{key}={value}' for key, value in options.items())])}."

    def resolve(self, name: str) -> tuple[str, Mapping[str, str]]:
        """Return the method that a name stands for, and the options that the name implies.

        >>> METHODS.resolve("siamlip-rocket")
        ('siamlip', {'improved': 'true'})
        >>> METHODS.resolve("clip")
        ('clip', {})
        """
        return SHORT.get(name, (name, {}))


METHODS = _Methods()


def names() -> tuple[str, ...]:
    """Return the names that `create` knows."""
    return METHODS.names()


def create(
    name: str, towers: Towers, recipe: Recipe, *, target: Target | None = None, **options: Any
) -> TowerMethod:
    """Return a method by name.

    Args:
        name: one of `names`.
        towers: of the columns that the method is to work on, in this order; columns of one modality share a tower.
        recipe: gives the widths.
        target: the label that a method which learns from labels learns from.
        options: the method's own arguments; of a loss, its own and those of `SingleLoss`.

    Raises:
        UnknownNameError: if there is no such method or option; the message gives the nearest name.
        ValueError: for columns that the method does not take, or a value an option cannot take.
    """
    from .options import check, read

    constructor = METHODS.get(name)
    name, implied = METHODS.resolve(name)
    check(name, constructor, options)
    # The caller's own options last: a short name only says what they are by default.
    return assemble(
        name, constructor, towers, recipe, target, **{**read(name, constructor, implied), **options}
    )


def assemble(
    name: str,
    constructor: Callable[..., Any],
    towers: Towers,
    recipe: Recipe,
    target: Target | None = None,
    **options: Any,
) -> TowerMethod:
    """Return a method from its class, or from the class of a loss by way of `SingleLoss`.

    Those that learn from no label are not told one.

    Raises:
        ValueError: without an option that the method cannot do without; and as the class itself says.
    """
    from .options import options_of, required
    from .single_loss import SingleLoss
    from .tower_method import TowerMethod

    if isinstance(constructor, type) and issubclass(constructor, TowerMethod):
        if missing := [option for option in required(constructor) if option not in options]:
            raise ValueError(f"{name} needs {missing[0]}=…; write {name},{missing[0]}=VALUE")
        build: Callable[..., TowerMethod] = constructor
        learned = {"target": target} if "target" in signature(constructor).parameters else {}
        return build(towers, recipe, **learned, **options)
    # Written side by side with the loss's own; `options_of_arm` refuses a loss that has one of them too.
    around = {k: options.pop(k) for k in options_of(SingleLoss) if k in options}
    loss: Any = constructor(**options)
    return SingleLoss(towers, recipe, loss, name, target=target, **around)
