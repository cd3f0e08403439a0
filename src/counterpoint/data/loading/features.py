"""Features that a frozen tower has computed before, in the cache folder, and views that need not be drawn for them.

Beside the feature of an example these are the features of a picture's patches and of a text's tokens.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...networks.base import ImageTower, TextTower, Tower
from ...networks.fingerprint import fingerprint
from ...raw import ends
from ..cache import cache_folder, writing

_LOG = logging.getLogger(__name__)
_DIGEST = 16
Kind = Literal["features", "patches", "states"]
"""What a memory holds: the features of examples, of the patches of pictures, or of the tokens of texts."""


class InputDigests(Tensor):
    """Digests ``(B, 16)`` of inputs whose features a memory holds, in place of the inputs themselves."""


@final
class Memory:
    """The features of a frozen tower by its inputs, each computed once, whichever run or process asks for it.

    A part of the memory is two files: the digests of inputs, and their features. Parts are whole or not there, and two
    processes that compute the same write the same. As a batch has the inputs alone that are new, features may differ
    in their last digit from those of another batch.

    Each tower has a folder of its own, named after the versions of this package and of torch and its fingerprint.

    Features of patches and tokens are stored in float16. Those of tokens are stored for the whole context of a text.

    Args:
        kind: what is remembered.
        compute: from inputs to it; what the tower itself computes unless given.
        rows: examples that are expected, whose size in all is logged when the first are computed; unknown with 0.

    Attributes:
        asked: whether anything was asked for. What is drawn for a memory that was asked is computed at once.
        sources: they return the inputs of digests whose features are not here yet.
    """

    def __init__(
        self, kind: Kind = "features", compute: Callable[[Tensor], Tensor] | None = None, rows: int = 0
    ) -> None:
        self.kind, self.rows = kind, rows
        self.asked = False
        self.sources: list[Callable[[Sequence[bytes]], dict[bytes, Tensor]]] = []
        self._compute = compute
        self._folder: Path | None = None
        self._index: dict[bytes, tuple[int, int]] = {}
        self._parts: list[np.ndarray] = []

    def __call__(self, tower: Tower, inputs: Tensor) -> Float[Tensor, "B ..."]:
        """Return the features of inputs, of which the tower sees those that are new.

        Raises:
            ValueError: for a tower that is not frozen, and features that are too large for float16.
        """
        self.asked = True
        if isinstance(inputs, InputDigests):
            known = inputs
            self._find(tower, [key.tobytes() for key in inputs.cpu().numpy()])
        else:
            known = self.keep(tower, inputs)
        places = [self._index[key.tobytes()] for key in known.cpu().numpy()]
        features = torch.from_numpy(np.stack([self._parts[part][row] for part, row in places]))
        if self.kind == "states" and not isinstance(inputs, InputDigests):
            features = features[:, : inputs.shape[1]]
        return features.float().to(inputs.device)

    def _find(self, tower: Tower, keys: Sequence[bytes]) -> None:
        """Compute the features of digests that are not here, from inputs that the sources have."""
        self._opened(tower)
        missing = list(dict.fromkeys(key for key in keys if key not in self._index))
        for source in self.sources if missing else ():
            if inputs := source(missing):
                self.keep(tower, torch.stack([*inputs.values()]))

    def keep(self, tower: Tower, inputs: Tensor) -> InputDigests:
        """Return the digests of inputs, once their features are here.

        Raises:
            ValueError: for a tower that is not frozen, and features that are too large for float16.
            CacheError: if features cannot be written.
        """
        folder = self._opened(tower)
        keys = digests(tower, inputs)
        new = {key: position for position, key in enumerate(keys) if key not in self._index}
        if new:
            part = inputs[list(new.values())].to(next(tower.parameters()).device)
            # At full precision whatever the run's, as other runs read it too.
            with torch.no_grad(), torch.autocast(part.device.type, enabled=False):
                made = self._made(tower, part).float().cpu()
            self._write(folder, list(new), self._stored(tower, made))
        return as_digests(keys)

    def _made(self, tower: Tower, inputs: Tensor) -> Tensor:
        if self._compute is None:
            return tower.compute(inputs)
        if self.kind == "states" and isinstance(tower, TextTower):
            inputs = F.pad(inputs, (0, tower.tokenizer.context - inputs.shape[1]))
        return self._compute(inputs)

    def _stored(self, tower: Tower, made: Tensor) -> np.ndarray:
        """Return features as they are stored; the first time, say how large they are."""
        if self.kind == "features":
            return made.numpy()
        stored = made.half()
        if not stored.isfinite().all():
            raise ValueError(
                f"towers.keep: {self.kind} of the tower {tower.name!r} are too large for float16, in which they are "
                "kept: leave keep out"
            )
        if not self._index:
            size = 2 * stored[0].numel()
            shape = " × ".join(str(side) for side in stored.shape[1:])
            of_all = f", {size * self.rows / 1e6:,.1f} MB for {self.rows:,} examples" if self.rows else ""
            _LOG.info(
                "towers.keep: %s of the tower %s are kept in float16, %s numbers or %s kB each%s",
                *(self.kind, tower.name, shape, f"{size / 1e3:,.1f}", of_all),
            )
        return stored.numpy()

    def _opened(self, tower: Tower) -> Path:
        """Return the folder of a tower's memory, whose parts are entered at the first call."""
        if self._folder is None:  # not before, as a method may change the pooling of a tower that is built
            if not tower.frozen:
                raise ValueError(f"tower {tower.name}: features are kept of frozen towers alone; freeze it")
            made_by = f"counterpoint-{version('counterpoint')}-torch-{torch.__version__}"
            self._folder = cache_folder() / "features" / made_by / fingerprint(tower, {})
            self._folder = self._folder if self.kind == "features" else self._folder / self.kind
            for path in sorted(self._folder.glob("*.keys.npy")):
                self._add(path)
        return self._folder

    def _write(self, folder: Path, keys: list[bytes], features: np.ndarray) -> None:
        name = hashlib.blake2b(b"".join(keys), digest_size=_DIGEST).hexdigest()
        for path, array in (
            (folder / f"{name}.npy", features),
            (folder / f"{name}.keys.npy", np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _DIGEST)),
        ):
            with writing(path) as part, part.open("wb") as file:
                np.save(file, array)
        self._add(folder / f"{name}.keys.npy")

    def _add(self, path: Path) -> None:
        """Enter a part; one whose features are not there, or are of other inputs, is as good as none."""
        try:
            keys = np.load(path)
            features = np.load(path.with_name(path.name.replace(".keys", "")), mmap_mode="r")
        except (OSError, ValueError):
            return
        if len(keys) == len(features):
            self._index |= {key.tobytes(): (len(self._parts), row) for row, key in enumerate(keys)}
            self._parts.append(features)


def digests(tower: Tower, inputs: Tensor) -> list[bytes]:
    """Return a digest of every example; a caption's, or another sequence's, ends where it ends, whatever follows."""
    rows = list(inputs.detach().cpu().contiguous().numpy())
    if inputs.is_floating_point():
        rows = [row[:end] for row, end in zip(rows, ends(inputs).tolist(), strict=True)]
    if isinstance(tower, TextTower):
        rows = [_caption(row, tower.tokenizer.end) for row in rows]
    return [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest() for row in rows]


def _caption(tokens: np.ndarray, end: int) -> np.ndarray:
    """Return a caption's tokens up to its end token; one at the very beginning is no end."""
    ends = np.flatnonzero(tokens[1:] == end)
    return tokens[: ends[0] + 2] if len(ends) else tokens


def as_digests(keys: Sequence[bytes]) -> InputDigests:
    """Return digests as one tensor."""
    joined = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8) if keys else torch.empty(0)
    return joined.to(torch.uint8).view(-1, _DIGEST).as_subclass(InputDigests)


def let_remember(tower: Tower, rows: int = 0) -> None:
    """Let a frozen tower answer from memory: with features, features of patches, and those of the tokens of texts.

    What else it computes needs the inputs themselves, and is refused for digests of them.

    Args:
        tower: frozen.
        rows: examples that are expected.
    """
    features = Memory(rows=rows)
    running = [0]
    # Methods call them by these names, which instances may have in place of their class.
    answers: dict[str, Callable[..., Any]] = {"compute": _within(running, tower.compute)}
    memories = [features]
    refused = ["prompted"]
    if isinstance(tower, ImageTower):
        compute = _within(running, tower.patches)
        patches = Memory("patches", compute, rows)
        memories.append(patches)

        def of_patches(images: Tensor) -> Tensor:
            # A tower that computes its features from them computes both at once.
            return compute(images) if running[0] else patches(tower, images)

        answers["patches"] = of_patches
        both = _within(running, tower.summary_and_patches)
        answers["summary_and_patches"] = lambda images: (
            both(images) if running[0] else (tower(images), of_patches(images))
        )
        refused += ["patch_levels", "encode_visible"]
    elif isinstance(tower, TextTower):
        of_tokens = _within(running, tower.states)
        states = Memory("states", of_tokens, rows)
        memories.append(states)
        answers["states"] = lambda tokens, dropout=0.0: (
            of_tokens(tokens, dropout) if dropout or running[0] else states(tower, tokens)
        )
    elif type(tower).states is not Tower.states:
        refused.append("states")
    answers |= {name: _refusing(tower, name, _within(running, getattr(tower, name))) for name in refused}
    vars(tower).update(answers)
    tower.memory = features
    vars(tower)["memories"] = tuple(memories)


def _within(running: list[int], compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that counts in ``running`` while it is at work."""

    def counted(*args: Any, **options: Any) -> Any:
        running[0] += 1
        try:
            return compute(*args, **options)
        finally:
            running[0] -= 1

    return counted


def _refusing(tower: Tower, name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a tower that says that it cannot answer from memory."""

    def refusing(inputs: Tensor, *args: Any, **options: Any) -> Any:
        if isinstance(inputs, InputDigests):
            raise ValueError(
                f"towers.keep: the method asks the tower {tower.name!r} for {name}, which is not kept: leave keep out"
            )
        return compute(inputs, *args, **options)

    return refusing


@final
class DeterministicView:
    """A view that shows the same of a row every time: drawn once, and from then on known by its digest.

    Inputs are held until a memory of the tower is asked for them, and those of the last draw until the next.

    Args:
        tower: that it is for, with a memory.
    """

    def __init__(self, tower: Tower) -> None:
        assert isinstance(tower.memory, Memory)
        self._tower = tower
        self._memories: tuple[Memory, ...] = getattr(tower, "memories", (tower.memory,))
        self._known: dict[int, Tensor] = {}
        self._rows: dict[bytes, int] = {}
        self._fresh: dict[bytes, Tensor] = {}
        self._draw: Callable[[list[int]], Tensor] | None = None
        for memory in self._memories:
            memory.sources.append(self.inputs)

    def __call__(self, rows: Sequence[int], draw: Callable[[list[int]], Tensor]) -> InputDigests:
        """Return what the tower takes in place of the rows' inputs.

        Args:
            rows: of the data.
            draw: gives the inputs of those that were never drawn.
        """
        self._draw = draw
        new = [row for row in dict.fromkeys(rows) if row not in self._known]
        if any(memory.asked for memory in self._memories):
            self._fresh = {}
        if new:
            inputs = draw(new)
            keys = digests(self._tower, inputs)
            self._known |= zip(new, as_digests(keys), strict=True)
            self._rows |= zip(keys, new, strict=True)
            self._fresh |= zip(keys, inputs, strict=True)
            for memory in self._memories:
                if memory.asked:
                    memory.keep(self._tower, inputs)
        return torch.stack([self._known[row] for row in rows]).as_subclass(InputDigests)

    def inputs(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """Return the inputs that have some digests, of rows that it has drawn; they are drawn again where need be."""
        mine = [key for key in keys if key in self._rows]
        again = [key for key in mine if key not in self._fresh]
        drawn: dict[bytes, Tensor] = {}
        if again and self._draw is not None:
            drawn = dict(zip(again, self._draw([self._rows[key] for key in again]), strict=True))
        return {key: self._fresh[key] if key in self._fresh else drawn[key] for key in mine}
