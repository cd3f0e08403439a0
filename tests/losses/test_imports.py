"""Imports that follow from creating and calling a loss."""

from __future__ import annotations

import subprocess
import sys

import pytest

CALLED = """
loss = cp.losses.create("siglip", evaluator="dense")
import torch
x = torch.eye(4, requires_grad=True)
loss(x, x).backward()
"""
ALL = "for name in dir(cp.losses): getattr(cp.losses, name)"


@pytest.mark.parametrize("code", [CALLED, ALL], ids=["called", "all"])
def test_dense_loss_imports_neither_compiler_nor_other_libraries(code: str) -> None:
    code = f"""
import sys
import counterpoint as cp
{code}
print(sorted({{"torch._dynamo", "transformers", "pandas"}} & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
