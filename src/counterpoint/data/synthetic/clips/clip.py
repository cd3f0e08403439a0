"""The clip: a scene, and what happens to its things; data first, frames second, words third.

Times are whole frames and lengths whole thousandths of the picture's side, as in scenes, so that what is true of
every frame is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ....files import writing
from ....reasons import counted
from ....registry import require
from ..lru import PictureLRU
from ..scenes.pixels.render import draw
from ..scenes.scene import SIZES, Colour, Relation, Scene, Thing, relation_holds

Action = Literal[
    "appear", "vanish", "move left", "move right", "move up", "move down", "change colour", "grow", "shrink"
]
ACTIONS: tuple[Action, ...] = get_args(Action)
DIRECTIONS: dict[Action, tuple[int, int]] = {
    "move left": (-1, 0),
    "move right": (1, 0),
    "move up": (0, -1),
    "move down": (0, 1),
}
"""The signs of the changes of x and y, for each way to move."""
PICTURES = (".gif", ".webp", ".png")
"""Animated pictures that `save` writes, with Pillow."""
VIDEOS = {".mp4": "libx264", ".webm": "libvpx-vp9"}
"""Videos that `save` writes, with their codec; they need the extra ``video``, which is PyAV."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to one thing.

    Attributes:
        action: what.
        thing: its place in the clip's scene.
        start, end: the first frame that shows a change, and the first one after the last change. What moves, grows
            or shrinks does so evenly; all else has happened at ``start``.
        by: how far it moves, or how much its side changes, in thousandths.
        colour: what it changes to.
    """

    action: Action
    thing: int
    start: int
    end: int
    by: int = 0
    colour: Colour | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """Everything that is true of a short video.

    Attributes:
        scene: all things, each as it is before anything happens to it, also those that appear later.
        events: in the order of their starts.
        frames: how many there are.

    Raises:
        ValueError: for an event of no thing, or outside the frames.

    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> clip = Clip(Scene(0, (cat,)), (Event("move right", 0, 2, 6, by=400),), 8)
    >>> [clip.at(frame).things[0].x for frame in range(8)]
    [300, 300, 400, 500, 600, 700, 700, 700]
    """

    scene: Scene
    events: tuple[Event, ...]
    frames: int

    def __post_init__(self) -> None:
        for event in self.events:
            if not 0 <= event.thing < len(self.scene.things):
                raise ValueError(
                    f"{event}: the scene has {counted(len(self.scene.things), 'thing')}, numbered from 0"
                )
            if not 0 <= event.start < event.end <= self.frames:
                raise ValueError(f"{event}: events start before they end, within {self.frames} frames")

    @property
    def moving(self) -> tuple[int, ...]:
        """Places of the things to which something happens, in the order in which it first does."""
        return tuple(dict.fromkeys(event.thing for event in self.events))

    @property
    def still(self) -> tuple[int, ...]:
        """Places of the things to which nothing happens."""
        return tuple(index for index in range(len(self.scene.things)) if index not in self.moving)

    def thing(self, index: int, frame: int) -> Thing | None:
        """Return a thing as it is in a frame; None where it is not there."""
        thing: Thing | None = self.scene.things[index]
        for event in self.events:
            if event.thing == index and thing is not None:
                thing = _after(thing, event, frame)
        return thing

    def at(self, frame: int) -> Scene:
        """Return the scene that a frame shows, with those relations of the clip's scene that hold in the frame.

        Raises:
            IndexError: for a frame that the clip does not have.
        """
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame {frame} of a clip of {self.frames}")
        seen = {p: thing for p in range(len(self.scene.things)) if (thing := self.thing(p, frame))}
        index = {old: new for new, old in enumerate(seen)}
        relations = (
            Relation(r.kind, index[r.subject], index[r.object])
            for r in self.scene.relations
            if r.subject in seen
            and r.object in seen
            and relation_holds(r.kind, seen[r.subject], seen[r.object], hidden=r.subject < r.object)
        )
        return replace(self.scene, things=tuple(seen.values()), relations=tuple(relations))


def _after(thing: Thing, event: Event, frame: int) -> Thing | None:
    whole = event.end - event.start
    done = min(max(frame - event.start + 1, 0), whole)
    if event.action == "appear":
        return thing if done else None
    if not done:
        return thing
    if event.action == "vanish":
        return None
    if event.action == "change colour":
        return replace(thing, colour=event.colour)
    part = event.by * done // whole
    if event.action in DIRECTIONS:
        across, down = DIRECTIONS[event.action]
        return replace(thing, x=thing.x + across * part, y=thing.y + down * part)
    sign = 1 if event.action == "grow" else -1
    size = SIZES[min(max(SIZES.index(thing.size) + sign, 0), 2)] if done == whole else thing.size
    return replace(thing, side=thing.side + sign * part, size=size)


def film(clips: Sequence[Clip], pixels: int = 96) -> UInt8[Tensor, "k T 3 pixels pixels"]:
    """Draw the frames of some clips, all of one length.

    Raises:
        ValueError: if there are none, or their lengths differ.
    """
    lengths = {clip.frames for clip in clips}
    if len(lengths) != 1:
        raise ValueError(f"expected clips of one length, got {sorted(lengths) or 'none'}")
    return _FILMED(clips, pixels)


def _frames(clips: Sequence[Clip], pixels: int) -> UInt8[Tensor, "k T 3 pixels pixels"]:
    scenes = [clip.at(frame) for clip in clips for frame in range(clip.frames)]
    return draw(scenes, pixels).pictures.view(len(clips), -1, 3, pixels, pixels)


_FILMED = PictureLRU(_frames)


def save(frames: UInt8[Tensor, "T 3 H W"], path: str | Path, milliseconds: int = 100) -> Path:
    """Save frames as a file: an animated picture or a video.

    ``.png`` and ``.webp`` keep every pixel, ``.gif`` 256 colours. ``.mp4`` (H.264) and ``.webm`` (VP9) are read by
    every player and every video library, and keep a pixel's colour nearly.

    Args:
        frames: of one clip; for ``.mp4`` and ``.webm`` of even height and width.
        path: of the file.
        milliseconds: that a frame is shown.

    Raises:
        ValueError: for another ending, or an odd height or width of a video.
        MissingPackageError: for a video without PyAV.
    """
    path = Path(path)
    if path.suffix not in (*PICTURES, *VIDEOS):
        raise ValueError(
            f"cannot write {path.name} as a video; end the name in {', '.join((*PICTURES, *VIDEOS))}"
        )
    with writing(path) as part:
        (_encode if path.suffix in VIDEOS else _animate)(frames, part, path.suffix, milliseconds)
    return path


def _animate(frames: UInt8[Tensor, "T 3 H W"], path: Path, suffix: str, milliseconds: int) -> None:
    first, *rest = (Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames)
    lossless = {"lossless": True} if suffix == ".webp" else {}
    first.save(
        path,
        format=suffix[1:],
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        **lossless,
    )


def _encode(frames: UInt8[Tensor, "T 3 H W"], path: Path, suffix: str, milliseconds: int) -> None:
    height, width = frames.shape[2:]
    if height % 2 or width % 2:
        raise ValueError(
            f"a video's height and width are even, got {height} × {width}: draw at another size, or as {PICTURES[1]}"
        )
    av = require("av", "video")
    with av.open(str(path), "w", format=suffix[1:]) as file:
        stream = file.add_stream(VIDEOS[suffix], rate=Fraction(1000, milliseconds))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            pixels = frame.permute(1, 2, 0).contiguous().numpy()
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())  # what the codec still holds
