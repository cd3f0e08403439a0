"""counterpoint: which pre-training method really helps on your paired data."""

from typing import Any

import lazy_loader

from .interop import _when_timm  # noqa: F401 # timm then knows the models that exported folders name

__version__ = "0.1.0"

_get, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        from .extras import missing_extra
        from .registry import MissingPackageError

        if (line := missing_extra(error)) is None:
            raise
        raise MissingPackageError(line) from error
