"""Sources of pretrained weights, and the one way in which reading them fails."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from ..registry import UnknownNameError
from ..trust import UntrustedError, is_offline

_RESTORED = ContextVar("a checkpoint's weights will replace all others", default=False)
WEIGHT_FILES = {".pt", ".pth", ".bin", ".safetensors"}
"""Endings of files of weights."""


@contextmanager
def restored() -> Iterator[None]:
    """Build towers here without reading the weights that they once started from: a checkpoint's replace them.

    So a trained model outlives the files of its start.
    """
    before = _RESTORED.set(True)
    try:
        yield
    finally:
        _RESTORED.reset(before)


def is_restored() -> bool:
    """Return whether towers are built within `restored`."""
    return _RESTORED.get()


@dataclass(frozen=True)
class TowerSource:
    """A tower's name taken apart: ``library:name@weights``, the weights a path or a hub's name, or none.

    >>> TowerSource.parse("timm:resnet18@weights/r18.safetensors")
    TowerSource(library='timm', name='resnet18', weights='weights/r18.safetensors')
    >>> TowerSource.parse("cnn")
    TowerSource(library='', name='cnn', weights=None)
    """

    library: str
    name: str
    weights: str | None

    @classmethod
    def parse(cls, text: str) -> TowerSource:
        model, at, weights = text.partition("@")
        library, colon, name = model.partition(":")
        if not colon:
            library, name = "", model
        if at and not weights:
            raise ValueError(
                f"tower {text!r} ends in @ without weights; give a path or 'hub', or leave @ out"
            )
        return cls(library, name, weights or None)

    @property
    def form(self) -> str:
        """The name as a modality lists it among its towers: ``cnn``, ``timm:NAME``."""
        return f"{self.library}:NAME" if self.library else self.name

    def __str__(self) -> str:
        model = f"{self.library}:{self.name}" if self.library else self.name
        return model if self.weights is None else f"{model}@{self.weights}"

    @property
    def path(self) -> Path | None:
        """The weights as an existing file or folder; None where they are a name for a hub.

        Raises:
            ValueError: for what is written like a path but does not exist.
        """
        if self.weights is None:
            return None
        path = Path(self.weights).expanduser()
        if path.exists():
            return path
        written_like_one = self.weights.startswith((".", "~")) or "\\" in self.weights
        if written_like_one or path.is_absolute() or path.suffix in WEIGHT_FILES:
            raise ValueError(
                f"tower {self}: there is no file or folder {self.weights}; name weights, or a run, that are there"
            )
        return None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn whatever a library raises into one ``ValueError`` that names the tower and what went wrong.

        In a block that is `counterpoint.trust.offline` only files on this machine are read.

        Raises:
            UntrustedError: in such a block, for weights that are not on this machine.
            ValueError: for weights that cannot be read.
        """
        try:
            with warnings.catch_warnings(), _hub_as_allowed():
                # torch warns of a pickle and then refuses it.
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                yield
        except (UnknownNameError, ImportError):
            raise
        except UnpicklingError as error:
            raise ValueError(
                f"tower {self} could not be read, and nothing was kept: the file is damaged, or holds more than "
                "tensors, which is not read because it can run code; save the state_dict alone as .safetensors"
            ) from error
        except Exception as error:
            if is_offline() and hub_not_reached(error):
                raise UntrustedError(
                    f"{self} is a model that the index names, and is not on this machine: it was not downloaded. To "
                    "allow it, repeat the command with --trust (in Python, pass trust=True)"
                ) from error
            what = "could not be built" if self.weights is None else "could not be read, and nothing was kept"
            raise ValueError(f"tower {self} {what}: {_first_lines(error)}") from error


def joined_names(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the names of the towers that are joined by +; one where the text names one.

    A + is part of a path where no name of a tower follows it, or where the whole path exists.

    >>> joined_names("vit@runs/a+cnn@runs/b", ["vit", "cnn"]), joined_names("vit@runs/a+b", ["vit", "cnn"])
    (('vit@runs/a', 'cnn@runs/b'), ('vit@runs/a+b',))

    Args:
        text: the name of a tower, or of several.
        known: names of towers of the modality (`counterpoint.modalities.Modality.tower_names`).
    """
    first, *rest = text.split("+")
    names = [first]
    for part in () if not rest or _exists(text) else rest:
        # Names are parsed by hand, as what follows a + in a path may be no name of a tower.
        library, colon, _ = part.partition("@")[0].partition(":")
        if (f"{library}:NAME" if colon else library) in known:
            names.append(part)
        else:
            names[-1] += f"+{part}"
    return tuple(names) if len(names) > 1 else (text,)


def _exists(tower: str) -> bool:
    """Return whether the weights of a tower are a path that exists."""
    try:
        return TowerSource.parse(tower).path is not None
    except ValueError:
        return False


@contextmanager
def _hub_as_allowed() -> Iterator[None]:
    """Let the client of the hub read only files on this machine, in a block that is `counterpoint.trust.offline`."""
    if not is_offline():
        yield
        return
    from huggingface_hub import constants

    # timm and open_clip have no option for this. The client reads the constant at every request.
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def hub_not_reached(error: BaseException | None) -> bool:
    """Return whether an error, or a cause of it, says that a hub was not reached."""
    from urllib.error import URLError

    from huggingface_hub.errors import LocalEntryNotFoundError

    while error is not None:
        if isinstance(error, URLError | ConnectionError | LocalEntryNotFoundError):
            return True
        error = error.__cause__ or error.__context__
    return False


def has_weights(folder: Path) -> bool:
    """Return whether a folder is there and holds weights, at whatever depth."""
    return any(file.suffix in WEIGHT_FILES for file in folder.rglob("*"))


def _first_lines(error: Exception, lines: int = 4) -> str:
    text = str(error).strip() or type(error).__name__
    shown = text.splitlines()
    return "\n".join(
        [*shown[:lines], f"… and {len(shown) - lines} more lines"] if len(shown) > lines else shown
    )
