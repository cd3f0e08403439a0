"""An arm of a study of decoding, as it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...decoding import DECODING
from ...registry import unknown
from ...spec import Spec, slug

if TYPE_CHECKING:
    from ...decoding import Decoding

PLAIN = "plain"
"""Plain sampling: the arm that is in every study."""
Role = Literal["plain", "rule", "method"]
_CONTRAST = "contrast"


@dataclass(frozen=True)
class DecodingArm:
    """A decoding method with its options.

    =======================  =================================================================================
    ``vcd``                  a method with its paper's defaults
    ``vcd,alpha=0.5``        options after commas
    ``vdd,without=none/unk`` several values of one option between slashes
    ``vcd,alpha=0.5+ritual`` two methods at once
    ``code,contrast=0``      the plausibility rule of a method without its contrast
    =======================  =================================================================================

    Attributes:
        spec: the arm as it was written; ``DecodingArm.parse(arm.spec)`` is the arm again.
        parts: each method's name and options, still text.
        contrast: False for the rule alone.
    """

    spec: str
    parts: tuple[tuple[str, Mapping[str, str]], ...]
    contrast: bool = True

    @classmethod
    def parse(cls, text: str) -> DecodingArm:
        """Read an arm, without loading torch.

        >>> DecodingArm.parse("vcd, alpha=0.5 + ritual").parts
        (('vcd', {'alpha': '0.5'}), ('ritual', {}))

        Raises:
            UnknownNameError: for an unknown method; the message gives the nearest one.
            ValueError: for an option without a value, or one that is given twice.
        """
        parts: list[tuple[str, Mapping[str, str]]] = []
        written, contrast = [], True
        for piece in re.split(r"\+(?=\s*[A-Za-z])", text):
            spec = Spec.parse(piece)
            name, options = spec.name, dict(spec.options)
            if name not in DECODING:
                raise unknown("decoding method", name, DECODING.names())
            written.append(str(spec))
            if (amount := options.pop(_CONTRAST, None)) is not None:
                if amount != "0":
                    raise ValueError(
                        f"arm {text!r}: {_CONTRAST}=0 leaves the plausibility rule alone; the strength of a contrast "
                        "is an option of the method (alpha)"
                    )
                contrast = False
            parts.append((name, options))
        return cls("+".join(written), tuple(parts), contrast)

    @property
    def slug(self) -> str:
        """The arm as a file name; different arms have different ones."""
        return slug(self.spec, self.spec, extra="+")

    def method(self, seed: int = 0) -> Decoding:
        """Create the method; what it draws by chance (noise, transforms) follows the seed where no option names one.

        >>> DecodingArm.parse("vcd,alpha=0.5").method(seed=3)
        VisualContrastive(alpha=0.5, beta=0.1, step=500, seed=3)

        Raises:
            UnknownNameError: for an unknown option; the message gives the nearest one.
            ValueError: for a value that the option cannot have, or a rule of a method that has none.
        """
        from ...decoding import plausibility_only
        from ...decoding.method import SumOfMethods
        from ...decoding.methods.plain import Plain

        methods = tuple(_create(name, options, seed) for name, options in self.parts)
        method = methods[0] if len(methods) == 1 else SumOfMethods(methods)
        if self.contrast:
            return method
        rule = plausibility_only(method)
        return Plain() if rule is None else rule

    def rule(self) -> DecodingArm | None:
        """Return the same plausibility rule with contrast 0; None for a method without one, or that is only a rule."""
        from ...decoding import plausibility_only
        from ...decoding.methods.plain import Plain

        method = self.method()
        rule = plausibility_only(method)
        if rule is None or rule == method or not self.contrast:
            return None
        # Methods of one β share their baseline.
        spec = f"plain,beta={rule.beta:g}" if isinstance(rule, Plain) else f"{self.spec},{_CONTRAST}=0"
        return DecodingArm.parse(spec)


def _create(name: str, texts: Mapping[str, str], seed: int) -> Decoding:
    from ...methods.options import options_of, values

    constructor = DECODING.get(name)
    # An option that may be anything, such as a second model, cannot be written as text.
    types = {option: type_ for option, type_ in options_of(constructor).items() if type_ is not Any}
    options = values(name, types, texts)
    if "seed" in types:
        options = {"seed": seed, **options}
    return constructor(**options)
