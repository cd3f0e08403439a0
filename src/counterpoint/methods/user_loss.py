"""A loss of the user's own, from a file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

from ..registry import check_python_file, import_file, unknown
from ..trust import UntrustedError


class LossError(RuntimeError):
    """A user's loss has failed; the message names file, line and function."""


def load_loss(file: Path, symbol: str) -> type[nn.Module]:
    """Return the class of a loss from a file.

    Whatever its ``__init__`` and ``forward`` raise becomes a `LossError`.

    Raises:
        FileNotFoundError: if there is no such file.
        UntrustedError: for a file that a folder names and the user did not allow (`counterpoint.trust`).
        UnknownNameError: if the file does not define the class; the message gives the nearest one.
        LossError: if the file cannot be imported.
        ValueError: if it is not an ``nn.Module`` whose ``forward`` takes the image and the text embeddings.
    """
    check_python_file(file)
    path = file.resolve()
    with _placed(file, path, "it cannot be imported: "):
        module = import_file(path)
    classes = {k: v for k, v in vars(module).items() if inspect.isclass(v)}
    if symbol not in classes:
        raise unknown(f"class in {file}", symbol, [k for k, v in classes.items() if issubclass(v, nn.Module)])
    loss = classes[symbol]
    if not issubclass(loss, nn.Module):
        raise ValueError(f"{symbol} in {file} must be an nn.Module: class {symbol}(nn.Module)")
    try:
        # The loss itself and two embeddings, before anything is trained.
        inspect.signature(loss.forward).bind(None, None, None)
    except TypeError as error:
        raise ValueError(
            f"{symbol}.forward in {file} must be forward(self, image_embeddings, text_embeddings): {error}"
        ) from None
    _guard(loss, file, path)
    return loss


def _guard(loss: type[nn.Module], file: Path, path: Path) -> None:
    """Make a class say where it fails: its file is the user's, and the reason is of use only with its place."""
    begin: Callable[..., None] = loss.__init__
    forward: Callable[..., Any] = loss.forward

    @functools.wraps(begin)
    def begins(self: nn.Module, *args: Any, **options: Any) -> None:
        try:
            inspect.signature(begin).bind(self, *args, **options)
        except TypeError as error:
            raise ValueError(
                f"{loss.__name__} in {file}: {error}; give its options after commas, "
                f"{file}:{loss.__name__},option=value"
            ) from None
        with _placed(file, path):
            begin(self, *args, **options)
        # Without it the loss fails later and elsewhere, with an error that does not name the cause.
        if "_parameters" not in vars(self):
            raise ValueError(f"{loss.__name__}.__init__ in {file} must call super().__init__() first")

    @functools.wraps(forward)
    def forwards(self: nn.Module, *args: Any, **options: Any) -> Any:
        with _placed(file, path):
            return forward(self, *args, **options)

    loss.__init__ = begins  # type: ignore[method-assign]
    loss.forward = forwards


@contextmanager
def _placed(file: Path, path: Path, what: str = "") -> Iterator[None]:
    """Turn what the user's code raises, an end of the program too, into a `LossError` with file and line."""
    try:
        yield
    except (LossError, UntrustedError):
        raise
    # A loss may end the program, as scripts do; the runs beside it shall go on.
    except (Exception, SystemExit) as error:
        where = _last_line(error, str(path))
        text = str(error) or "no message"
        raise LossError(
            f"{file}{where}: {what}{type(error).__name__}: {text} (set COUNTERPOINT_TRACEBACK=1 to see the traceback)"
        ) from error


def _last_line(error: BaseException, path: str) -> str:
    """Return the last line of a file that an error passed through, in words; for a syntax error, that line."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f", line {error.lineno}"
    line, trace = "", error.__traceback__
    while isinstance(trace, TracebackType):
        code = trace.tb_frame.f_code
        if code.co_filename == path:
            within = "" if code.co_name == "<module>" else f", in {code.co_name}"
            line = f", line {trace.tb_lineno}{within}"
        trace = trace.tb_next
    return line
