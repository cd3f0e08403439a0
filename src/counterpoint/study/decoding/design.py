"""What a study of decoding compares: methods, one model, data, tasks, seeds, one way of sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import design as designs
from .arm import PLAIN, DecodingArm, Role


@dataclass(frozen=True)
class DecodingDesign:
    """A study of decoding before it is run.

    Attributes:
        arms: the methods to be judged; their baselines come by themselves.
        model: a path or a hub name of a vision-language model.
        data: a data set's name or a path.
        seeds: of the sampling, and of what methods draw by chance.
        tasks: what is asked of the model.
        limit: rows of each test set at most.
        sampling: how every arm samples: ``temperature``, ``max_new_tokens``.
        image_size: of the pictures, in pixels.
        margin: differences within ± this are called equivalent (in the metric's own units).
        weights: a mark of the model's weights, so that a study is not continued with others.
    """

    arms: tuple[str, ...]
    model: str
    data: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    limit: int = 200
    sampling: Mapping[str, float | int] = field(default_factory=dict)
    image_size: int = 336
    margin: float = 0.01
    weights: str = ""

    def __post_init__(self) -> None:
        if not set(self.arms) - {PLAIN}:  # which is in every study
            raise ValueError(
                "which methods? For example: counterpoint compare-decoding vcd lcd --model PATH "
                "--data scenes:cooccurrence"
            )
        if not self.seeds:
            raise ValueError("a study needs at least one seed")
        if not self.tasks:
            raise ValueError("a study needs at least one task")
        if self.limit < 2:
            raise ValueError(f"limit={self.limit}: give at least 2 rows of each test set")
        if not self.sampling.get("temperature", 1.0) >= 0:
            raise ValueError(f"temperature={self.sampling['temperature']}: must not be negative")
        if self.margin <= 0:
            raise ValueError(f"margin={self.margin}: must be positive")
        for kind, items in (("arm", self.arms), ("seed", self.seeds), ("task", self.tasks)):
            if len(set(items)) != len(items):
                raise ValueError(f"{kind} given twice in {list(items)}")

    @cached_property
    def rules(self) -> dict[str, str | None]:
        """Each method's own rule alone, where it has one."""
        # Greedy search takes the likeliest token, which every rule keeps: there the rule alone is plain decoding.
        greedy = self.sampling.get("temperature") == 0
        found = {arm: None if greedy else DecodingArm.parse(arm).rule() for arm in self.arms}
        return {arm: None if rule is None else rule.spec for arm, rule in found.items()}

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Every arm of the study, the baselines first."""
        found: dict[str, Role] = {PLAIN: "plain"}
        for rule in self.rules.values():
            if rule is not None:
                found[rule] = "rule"
        for arm in self.arms:
            if arm != PLAIN:
                found[arm] = "method"
        return found

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """What is compared: each method with plain sampling, and with its own rule alone."""
        methods = [arm for arm in self.arms if arm != PLAIN]
        found = [(arm, PLAIN) for arm in methods]
        return found + [(arm, rule) for arm in methods if (rule := self.rules[arm]) is not None]

    def plain(self) -> dict[str, Any]:
        return {
            "format": designs.FORMAT,
            "kind": "decoding",
            "arms": list(self.arms),
            "model": self.model,
            "data": self.data,
            "tasks": list(self.tasks),
            "seeds": list(self.seeds),
            "limit": self.limit,
            "sampling": dict(self.sampling),
            "image_size": self.image_size,
            "margin": self.margin,
            "weights": self.weights,
        }

    @classmethod
    def read(cls, folder: Path) -> DecodingDesign | None:
        """The study of a folder, or None where there is none."""
        plain = designs.read_plain(folder, "decoding")
        if plain is None:
            return None
        for key in ("arms", "seeds", "tasks"):
            plain[key] = tuple(plain[key])
        return cls(**plain)

    def joined(self, folder: Path) -> DecodingDesign:
        """With the arms and seeds that a folder already holds; see `counterpoint.study.design.merge`."""
        return designs.merge(self, self.read(folder), folder)

    def claim(self, folder: Path) -> DecodingDesign:
        """Make a folder this study's; see `counterpoint.study.design.claim`."""
        return designs.claim(self, self.read(folder), folder)
