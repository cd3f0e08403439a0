"""The word that an arm begins with, where it is no method's name: a folder of a model, or a loss of the user's own."""

from __future__ import annotations

import ast
from pathlib import Path

from ..registry import check_python_file, load, named_in_file, unknown


def of_folder(arm: str, head: str) -> str:
    """Return the name of the towers that an arm begins with, where it names a folder as `counterpoint.load` takes it.

    Raises:
        ValueError: for a folder that is no model, or one that no towers are built of.
    """
    if not any(name and Path(name).expanduser().is_dir() for name in (head, head.partition(":")[2])):
        return head
    try:
        # By name, as rooms import downwards only; other arms are read without it, which loads torch.
        name: str = load("counterpoint.models:towers_of")(head)
    except ValueError as error:
        raise ValueError(f"arm {arm!r}: {error}") from None
    return name


def loss_in_file(head: str) -> tuple[Path, str]:
    """Return the file and the class of a loss.

    >>> loss_in_file("mine.py")
    Traceback (most recent call last):
    ValueError: a loss is written FILE.py:CLASS, got 'mine.py'

    Raises:
        FileNotFoundError: for a file that is not there.
        UnknownNameError: for a class that the file does not define.
        ValueError: for a file without a class.
    """
    loss = named_in_file(head)
    if loss is None:
        raise ValueError(f"a loss is written FILE.py:CLASS, got {head!r}")
    check_python_file(loss[0])
    _check_class(*loss)
    return loss


def _check_class(file: Path, name: str) -> None:
    """Refuse a class that a file does not define, by the file's text: importing it would load torch.

    Names that the text leaves open, as those of a star import or of ``__getattr__``, and files without a class are left
    to the import.
    """
    try:
        nodes = [*ast.walk(ast.parse(text := file.read_text(encoding="utf-8")))]
    except (OSError, SyntaxError, ValueError):  # importing it says what is wrong
        return
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    others = {
        *((node.asname or node.name) for node in nodes if isinstance(node, ast.alias)),
        *(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)),
        *(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)),
    }
    words = ("globals", "setattr", "exec")
    is_open = not others.isdisjoint({"*", "__getattr__"}) or any(word in text for word in words)
    if classes and not is_open and name not in {*classes, *others}:
        raise unknown(f"class in {file}", name, classes)
