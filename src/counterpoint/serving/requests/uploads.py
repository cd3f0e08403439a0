"""From the bytes of an upload to a picture: nothing is believed that its bytes do not show, and nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import io
import re
import warnings

from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ...data.pictures.single import raw_pictures
from ...networks.base import Input
from .limits import Format, Limits
from .refusals import RequestError, bad

_DATA = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII)
_LONGEST = 100  # sides of a picture: of one that is longer, the square holds next to nothing
_SCANS = 64  # of a JPEG: each goes over all its pixels, however few bytes it has


def of_address(address: object, param: str) -> bytes:
    """Return the bytes of a picture that is written as ``data:image/png;base64,…``.

    Raises:
        RequestError: for anything else, an address or a path above all.
    """
    if not isinstance(address, str):
        raise bad(f"{param} must be a text that begins with data:image/png;base64,", param)
    match = _DATA.match(address)
    if match is None:
        raise bad(
            f"{param} must hold the picture itself, as data:image/png;base64,… or of another format; addresses and "
            "paths are not opened",
            param,
        )
    try:
        return base64.b64decode(address[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise bad(f"{param} is no valid base64", param) from None


def picture(data: bytes, shown: Input, limits: Limits, param: str) -> UInt8[Tensor, "3 side side"]:
    """Decode the first frame of an upload as a tower wants it.

    Args:
        data: the bytes of a file.
        shown: the tower's input.
        limits: of its pixels and formats.
        param: the part of the request that it came in.

    Raises:
        RequestError: for what is no whole picture of the formats that are read, or too large a one.
    """
    kind = _format(data)
    if kind not in limits.formats:
        raise bad(f"{param} is no picture of a format that is read: {', '.join(limits.formats)}", param)
    if kind == "jpeg" and data.count(b"\xff\xda") > _SCANS:
        raise bad(f"{param} is a JPEG of more than {_SCANS} scans", param)
    if kind == "webp":  # whose decoder takes its memory when it opens
        _check_size(*_webp_size(data), limits, param)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[kind.upper()]) as opened:
                _check_size(opened.width, opened.height, limits, param)
                return raw_pictures([opened], shown)[0]
    except RequestError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(limits, param) from None
    except UnidentifiedImageError:
        raise bad(f"{param} begins like a {kind.upper()}, but is none", param) from None
    except Exception:  # a broken file makes decoders raise whatever comes first
        raise bad(f"{param} is a broken {kind.upper()}, or one that is not whole", param) from None


def _format(data: bytes) -> Format | None:
    """Return the format that the first bytes show."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None


def _check_size(width: int, height: int, limits: Limits, param: str) -> None:
    if width * height > limits.pixels:
        raise _too_large(limits, param)
    if max(width, height) > _LONGEST * min(width, height):
        raise bad(f"{param} has a side more than {_LONGEST} times as long as the other", param)


def _too_large(limits: Limits, param: str) -> RequestError:
    return bad(f"{param} has more than {limits.pixels:,} pixels", param)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height by the header of a WebP; nothing where there is none."""
    chunk, start = data[12:16], data[20:30]
    if len(start) < 10:
        return 0, 0
    if chunk == b"VP8X":
        return int.from_bytes(start[4:7], "little") + 1, int.from_bytes(start[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(start[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(start[6:8], "little") & 0x3FFF, int.from_bytes(start[8:10], "little") & 0x3FFF
