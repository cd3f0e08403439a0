"""Properties of every registered method: those of `counterpoint.testing`, and refusals of what cannot be embedded."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import unwrap
from typing import Any

import method_stubs
import numpy as np
import pytest
import torch
from conformance_tools import run_all
from method_stubs import build

from counterpoint import methods
from counterpoint.methods import Method
from counterpoint.methods.options import required
from counterpoint.testing import MethodCase, method_checks
from counterpoint.testing._stubs import INPUTS

every = pytest.mark.parametrize("name", methods.names())


@dataclass(frozen=True)
class Registered(MethodCase):
    """A registered method, built with what `method_stubs` has for it."""

    def build(self, seed: int = 0, prefix: str = "", **options: Any) -> Any:
        return build(str(self.method), seed, prefix=prefix, **options)


def test_what_is_entered_by_hand_is_of_methods_that_there_are() -> None:
    tables = method_stubs.OPTIONS, method_stubs.RECIPES, method_stubs.SOUNDS, method_stubs.PICTURES
    assert {name for table in tables for name in table} <= set(methods.names())
    known = [methods.METHODS.get(name) for name in methods.names()]
    assert set(method_stubs.REQUIRED) <= {o for it in known if issubclass(it, Method) for o in required(it)}


def test_method_needs_more_than_class_says_told_where_to_entered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method_stubs, "REQUIRED", {})
    with pytest.raises(ValueError, match="jest needs reference=") as told:
        build("jest")
    assert told.value.__notes__ == [method_stubs.ENTERED]
    assert all(
        table in method_stubs.ENTERED
        for table in ("OPTIONS", "REQUIRED", "RECIPES", "SOUNDS", "PICTURES", "OF_KIND")
    )


@every
def test_conforms(name: str) -> None:
    run_all(name, [(name, method_checks(Registered(name)))])
    # Baselines that adapt a frozen pair or a painter come from no paper of the catalog, and neither does what papers
    # start from.
    assert build(name).papers or build(name).names or name in {"painter", *method_stubs.PERSONAL}


@pytest.mark.parametrize(
    ("modality", "inputs", "message"),
    [
        ("image", torch.zeros(2, 3, 8, 8), "of values from 0 to 255, got torch.float32"),
        ("image", torch.zeros(2, 3, 8, 8, dtype=torch.int64), "got torch.int64"),
        ("image", torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "repeat the grey channel"),
        ("image", torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "leave the alpha channel out"),
        ("image", torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "channels come second"),
        ("image", torch.zeros(3, 8, 8), "of values from 0 to 255, got torch.float32"),
        ("image", torch.zeros(2, 3, 0, 8, dtype=torch.uint8), "nothing to embed"),
        ("image", np.zeros((2, 8, 8, 3)), "uint8 values from 0 to 255, got float64"),
        ("text", None, "texts must be a list of texts, or one text, got NoneType"),
        ("text", b"a cat", "got bytes"),
        ("text", ["a cat", None], "text 1 must be a text, got NoneType"),
        ("text", ["a cat", b"a dog"], "text 1 must be a text, got bytes"),
        ("text", ["half \ud83d"], "text 0 is no valid Unicode"),
    ],
)
def test_embedding_refuses_what_cannot_be_a_picture_or_a_text(
    modality: str, inputs: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        unwrap(type(build("clip")).embed)(build("clip"), modality, inputs)


def test_refusals_of_embedding_say_what_is_wrong() -> None:
    method = build("clip")
    for column, inputs, head, message in (
        ("imag", INPUTS["image"], "default", "unknown column 'imag'"),
        ("image", INPUTS["image"], "globa", "unknown head 'globa': did you mean 'global'"),
        ("image", [7], "default", "must be a uint8 tensor .*, got list"),
        ("text", torch.zeros(2, 3), "default", "texts must be a list of texts, or one text, got Tensor"),
        ("audio", INPUTS["audio"], "default", "it has no audio embeddings|unknown column"),
    ):
        with pytest.raises(ValueError, match=message):
            unwrap(type(method).embed)(method, column, inputs, head)


def test_one_text_is_a_list_of_one() -> None:
    method, texts = build("clip"), INPUTS["text"]
    assert torch.equal(method.embed("text", texts[0]), method.embed("text", texts[:1]))
