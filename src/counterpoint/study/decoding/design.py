"""The design of a study of decoding: methods, one model, data, tasks, seeds, one way of sampling."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, TypedDict

from pydantic import Field
from pydantic.dataclasses import dataclass as form

from ...files import FORMAT
from ...forms import (
    FORM,
    ComputedField,
    Count,
    Margin,
    Name,
    Names,
    NonNegative,
    ParsedField,
    Positional,
    Seeds,
)
from ..design import FolderDesign
from .arm import PLAIN, DecodingArm, Role


@form(frozen=True, config=FORM)
class DecodingDesign(FolderDesign):
    """A study of decoding before it is run, and the form of its options for the command line and Python.

    Attributes:
        image_size: the side of the pictures, in pixels; the model says it.
        weights: a mark of the model's weights, so that a study is not continued with others.
    """

    kind = "decoding"
    required = ("arms", "model", "data", "tasks", "seeds", "limit", "sampling", "image_size")

    arms: Annotated[Names, Positional()] = ()
    """Methods (see: counterpoint list decoding), with options after commas: vcd,alpha=0.5; two at once: vcd+ritual."""
    model: Name = ""
    """A vision-language model: a folder as transformers saves it, a name on the Hugging Face hub, or tiny-vlm."""
    data: Name = ""
    """scenes:PRESET; questions:PATH, a CSV, JSONL or JSON file of your own with image, question, answer; …"""
    tasks: Names = ()
    """pope, chair, answers, mme, sycophancy, multiple_choice, image_quality, quality_ranking. Unless given, the first
    four, as far as the data has what they ask about."""
    seeds: Annotated[Seeds, ParsedField(int, 5)] = (0, 1, 2, 3, 4)
    """Seeds per arm, given as a number. From 5 on, verdicts can be more than suggestive."""
    limit: Annotated[int, Field(ge=2, strict=True)] = 200
    """Rows of each test set at most."""
    temperature: NonNegative = 1.0
    """Temperature of the sampling; 0 takes the likeliest token."""
    max_new_tokens: Annotated[Count, Field(strict=True)] = 64
    """Tokens after which a reply is cut off."""
    margin: Margin = 0.01
    """Margin of equivalence: differences within ± this margin are called equivalent."""
    title: str = ""
    """Title of the report page; the question of the study unless given."""
    image_size: Annotated[int, ComputedField()] = 336
    weights: Annotated[str, ComputedField()] = ""

    @property
    def sampling(self) -> dict[str, float | int]:
        """Return the settings that every arm samples with."""
        return {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}

    @cached_property
    def rules(self) -> dict[str, str | None]:
        """Each method's own rule alone, where it has one."""
        # Greedy search takes the likeliest token, which every rule keeps: there the rule alone is plain decoding.
        greedy = self.temperature == 0
        rules = {arm: None if greedy else DecodingArm.parse(arm).rule() for arm in self.arms}
        return {arm: None if rule is None else rule.spec for arm, rule in rules.items()}

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Every arm of the study, the baselines first."""
        roles: dict[str, Role] = {PLAIN: "plain"}
        for rule in self.rules.values():
            if rule is not None:
                roles[rule] = "rule"
        for arm in self.arms:
            if arm != PLAIN:
                roles[arm] = "method"
        return roles

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs to compare: each method with plain sampling, and with its own rule alone."""
        methods = [arm for arm in self.arms if arm != PLAIN]
        with_plain = [(arm, PLAIN) for arm in methods]
        return with_plain + [(arm, rule) for arm in methods if (rule := self.rules[arm]) is not None]

    def plain(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "kind": self.kind,
            "arms": list(self.arms),
            "model": self.model,
            "data": self.data,
            "tasks": list(self.tasks),
            "seeds": list(self.seeds),
            "limit": self.limit,
            "sampling": self.sampling,
            "image_size": self.image_size,
            "margin": self.margin,
            "weights": self.weights,
            **({"title": self.title} if self.title else {}),
        }

    @classmethod
    def fields_of(cls, plain: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(sampling := plain.pop("sampling"), dict):
            raise ValueError("sampling holds no keys and values")
        return plain | sampling


class DecodingOptions(TypedDict, total=False):
    """The options of a `DecodingDesign` as Python gives them; a number of seeds stands for the first ones."""

    data: str | os.PathLike[str]
    tasks: Sequence[str] | None
    seeds: int | Sequence[int]
    limit: int
    temperature: float
    max_new_tokens: int
    margin: float
    title: str


def check_names(design: DecodingDesign) -> None:
    """Refuse methods and tasks that there are none of, and what is left out, without loading torch.

    Raises:
        UnknownNameError: the message gives the nearest one.
        ValueError: for a method that cannot be read, and where methods, model or data are not given.
    """
    from ...evaluation import check_name

    for method in design.arms:
        DecodingArm.parse(method)
    for task in design.tasks:
        check_name(task)
    methods = set(design.arms) - {PLAIN}  # plain is always there
    needed = {"methods": methods, "model": design.model, "data": design.data}
    for option, value in needed.items():
        if not value:
            raise ValueError(
                f"which {option}? For example: counterpoint compare-decoding vcd lcd --model PATH "
                "--data scenes:cooccurrence"
            )
