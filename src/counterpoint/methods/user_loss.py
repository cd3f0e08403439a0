"""A loss of the user's own, from a file."""

from __future__ import annotations

import hashlib
import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from torch import nn

from ..registry import unknown


def load_loss(file: Path, symbol: str) -> type[nn.Module]:
    """The class of a loss from a file.

    Raises:
        UnknownName: if the file does not define the class; the message gives the nearest one.
        ValueError: if it is not an ``nn.Module`` whose ``forward`` takes the image and the text embeddings.
    """
    path = file.resolve()
    name = f"_loss_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"there is no Python file {file}")
    module = module_from_spec(spec)
    sys.modules[name] = module  # so that the classes in it can be pickled and their annotations read
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    classes = {k: v for k, v in vars(module).items() if inspect.isclass(v)}
    if symbol not in classes:
        raise unknown(f"class in {file}", symbol, [k for k, v in classes.items() if issubclass(v, nn.Module)])
    found = classes[symbol]
    if not issubclass(found, nn.Module):
        raise ValueError(f"{symbol} in {file} must be an nn.Module: class {symbol}(nn.Module)")
    try:
        inspect.signature(found.forward).bind(None, None, None)
    except TypeError as error:
        raise ValueError(
            f"{symbol}.forward in {file} must be forward(self, image_embeddings, text_embeddings): {error}"
        ) from None
    return found
