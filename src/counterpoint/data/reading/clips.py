"""Clips from files: at most so many frames, each a square of the side that a tower asks for."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageSequence

from ...networks.towers.footage import MOST_FRAMES, centres
from ...raw import Clips
from ...registry import require
from ..pictures.decode import open_picture, square

PLAYED = 24
"""Frames of a clip that a report plays, at most: what it holds travels with the page."""
_SHOWN_MS = 125


def read_clip(data: bytes, form: int) -> UInt8[np.ndarray, "T 3 side side"]:
    """Read the bytes of a video, of an animated picture or of a picture, which is a clip of one frame.

    A clip of more than `MOST_FRAMES` frames keeps as many, evenly spread from the first to the last.

    Args:
        data: of a file that FFmpeg reads, with the package av, or of a GIF, a WebP and the like, which need none.
        form: side in pixels of the frames that are returned, the middle squares of the video's.

    Raises:
        MissingPackageError: for a video, without the package av.
        ValueError: for bytes that are none of these, and for a video without frames.
    """
    try:
        opened = open_picture(data, form)
    except OSError:  # no picture: perhaps a video
        return _video(data, form)
    try:
        with opened:
            return _spread(ImageSequence.Iterator(opened), form)
    except Exception as error:  # whatever a decoder raises of a damaged file
        raise _not_whole(error) from error


def frames_in(data: bytes) -> int:
    """Return how many frames a file has, of which reading keeps `MOST_FRAMES` at most; none of them is decoded.

    Raises:
        MissingPackageError, ValueError: as `read_clip`.
    """
    try:
        opened = open_picture(data, 1)
    except OSError:  # no picture: perhaps a video
        return _frames_of_a_video(data)
    try:
        with opened:
            return int(getattr(opened, "n_frames", 1))  # Pillow states it of kinds with frames alone
    except Exception as error:  # whatever a decoder raises of a damaged file
        raise _not_whole(error) from error


def _not_whole(error: Exception) -> ValueError:
    return ValueError(f"no whole picture: {error or type(error).__name__}")


def _frames_of_a_video(data: bytes) -> int:
    av = require("av", "video")
    try:
        with av.open(io.BytesIO(data)) as file:
            stream = file.streams.video[0]
            return stream.frames or sum(packet.size > 0 for packet in file.demux(stream))
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"no video that FFmpeg reads: {error}") from error


def pack_clips(clips: Sequence[UInt8[np.ndarray, "_ 3 _ _"]], form: int) -> Clips:
    """Return clips of one size as their raw form."""
    return Clips.of(clips)


def play_clip(clip: Clips, seconds: float = 0.0) -> tuple[str, bytes]:
    """Return one clip as an animated WebP, with its kind; of a long one some frames, evenly spread.

    A clip does not say how long it lasts, so that the seconds change nothing.

    >>> kind, file = play_clip(Clips.of([np.zeros((3, 3, 8, 8), np.uint8)]))
    >>> kind, Image.open(io.BytesIO(file)).n_frames
    ('image/webp', 1)
    """
    length = max(int(clip.lengths), 1)
    shown = clip.frames[0, centres(length, min(length, PLAYED))].permute(0, 2, 3, 1).numpy()
    first, *rest = map(Image.fromarray, shown)
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=_SHOWN_MS, loop=0, quality=80)
    return "image/webp", file.getvalue()


def store_clip(clip: Clips) -> tuple[str, bytes]:
    """Return one clip as a TIFF file with a page for each frame, with its kind."""
    shown = clip.frames[0, : int(clip.lengths)].permute(0, 2, 3, 1).numpy()
    first, *rest = map(Image.fromarray, shown)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=rest, compression="tiff_deflate")
    return "tiff", file.getvalue()


def _video(data: bytes, side: int) -> UInt8[np.ndarray, "T 3 side side"]:
    av = require("av", "video")
    try:
        with av.open(io.BytesIO(data)) as file:
            if not file.streams.video:
                raise ValueError("there is no video in the file")
            return _spread((frame.to_image() for frame in file.decode(file.streams.video[0])), side)
    except av.error.FFmpegError as error:
        raise ValueError(f"no video that FFmpeg reads: {error}") from error


def _spread(frames: Iterable[Image.Image], side: int) -> UInt8[np.ndarray, "T 3 side side"]:
    """Return all frames, or `MOST_FRAMES` of them, without holding many more at once."""
    selected: list[np.ndarray] = []
    step = 1
    for number, frame in enumerate(frames):
        if number % step == 0:
            selected.append(square(frame, side))
            if len(selected) == 2 * MOST_FRAMES:
                selected, step = selected[::2], 2 * step
    if not selected:
        raise ValueError("the video has no frames")
    return np.stack([selected[index] for index in centres(len(selected), min(len(selected), MOST_FRAMES))])
