"""Clips from a user's own files: videos, animated pictures, pictures; read once, at the side that a tower takes."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import GifImagePlugin, Image
from torch import Tensor

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data.listed.stored_rows import StoredRows
from counterpoint.data.reading.clips import PLAYED, frames_in, play_clip, read_clip
from counterpoint.data.reporting.whole import report
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.clips.clip import save
from counterpoint.networks.towers.footage import MOST_FRAMES, Footage
from counterpoint.pages.things import thing
from counterpoint.registry import MissingPackageError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def shades(count: int, side: int = 32, first: int = 0) -> UInt8[Tensor, "T 3 side side"]:
    """Return frames that become lighter, the upper half of each dark."""
    levels = (first + torch.linspace(40, 200, count)).to(torch.uint8)
    frames = levels[:, None, None, None].expand(count, 3, side, side).clone()
    frames[:, :, : side // 2] = 20
    return frames


def folder(root: Path, count: int = 40) -> Path:
    root.mkdir()
    for k in range(count):
        save(shades(2 + k % 4, first=k), root / f"{k:02}.mp4")
        (root / f"{k:02}.txt").write_text(f"it becomes light, number {k}")
    return root


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif", ".webp", ".png"])
def test_frames_of_a_file_come_in_their_order(tmp_path: Path, ending: str) -> None:
    frames = shades(6)
    found = read_clip(save(frames, tmp_path / f"clip{ending}").read_bytes(), 32)
    assert found.shape == (6, 3, 32, 32)
    np.testing.assert_allclose(
        found.astype(int), frames.numpy(), atol=0 if ending in (".webp", ".png") else 12
    )
    small = read_clip((tmp_path / f"clip{ending}").read_bytes(), 16)
    assert small.shape == (6, 3, 16, 16)


def test_a_frame_is_the_middle_square(tmp_path: Path) -> None:
    wide = torch.zeros(2, 3, 16, 32, dtype=torch.uint8)
    wide[..., 8:24] = 200
    found = read_clip(save(wide, tmp_path / "wide.webp").read_bytes(), 16)
    assert found.min() == 200


def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "it.jpg")
    assert read_clip((tmp_path / "it.jpg").read_bytes(), 8).shape == (1, 3, 8, 8)
    assert cp.Clips.read([tmp_path / "it.jpg"], side=8).lengths.tolist() == [1]


@pytest.mark.parametrize("ending", [".mp4", ".webp"])
def test_all_frames_of_a_file_are_counted(tmp_path: Path, ending: str) -> None:
    frames = torch.arange(MOST_FRAMES + 5, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    assert frames_in(save(frames, tmp_path / f"long{ending}").read_bytes()) == MOST_FRAMES + 5
    Image.new("RGB", (8, 8), "red").save(tmp_path / "it.jpg")
    assert frames_in((tmp_path / "it.jpg").read_bytes()) == 1
    with pytest.raises(ValueError, match="no video that FFmpeg reads"):
        frames_in(b"neither picture nor video")


@pytest.mark.parametrize("count", [MOST_FRAMES, MOST_FRAMES + 1, 2 * MOST_FRAMES, 5 * MOST_FRAMES + 3])
def test_of_a_long_clip_frames_are_kept_that_are_spread_evenly(tmp_path: Path, count: int) -> None:
    frames = torch.zeros(count, 3, 8, 8, dtype=torch.uint8)
    frames += (torch.arange(count) % 256).to(torch.uint8)[:, None, None, None]
    found = read_clip(save(frames, tmp_path / "long.webp").read_bytes(), 8)[:, 0, 0, 0].astype(int)
    assert len(found) == MOST_FRAMES
    steps = np.diff(found)
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= max(1, count // MOST_FRAMES)
    assert found[0] <= count / MOST_FRAMES
    assert found[-1] >= count - 1 - 2 * count / MOST_FRAMES


@pytest.mark.parametrize("raised", [IndexError("index out of range"), TypeError("Missing dimensions")])
def test_whatever_decoder_raises_of_a_damaged_picture_is_a_line(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = save(shades(3), tmp_path / "moves.gif").read_bytes()

    def seek(*_: object) -> None:
        raise raised

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "seek", seek)
    with pytest.raises(ValueError, match=f"^no whole picture: {raised}$"):
        read_clip(moves, 16)
    with pytest.raises(ValueError, match=f"^no whole picture: {raised}$"):
        frames_in(moves)


@pytest.mark.filterwarnings("ignore")  # of Pillow, of what is missing
def test_pages_that_are_cut_off_are_a_line(tmp_path: Path) -> None:
    first, *rest = (Image.effect_noise((32, 32), 99) for _ in range(6))
    first.save(tmp_path / "pages.tiff", save_all=True, append_images=rest)
    whole = (tmp_path / "pages.tiff").read_bytes()
    for end in range(len(whole) // 4, len(whole), 97):
        with suppress(ValueError):
            read_clip(whole[:end], 16)


def test_what_is_no_clip_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no video that FFmpeg reads"):
        read_clip(b"neither picture nor video", 16)
    Image.effect_noise((64, 64), 99).save(tmp_path / "it.png")
    whole = (tmp_path / "it.png").read_bytes()
    with pytest.raises(ValueError, match="no whole picture"):
        read_clip(whole[: len(whole) // 2], 16)
    whole = save(shades(6), tmp_path / "it.webp").read_bytes()
    with pytest.raises(ValueError, match="no video that FFmpeg reads"):
        read_clip(whole[: len(whole) // 2], 16)
    import av

    with av.open(str(tmp_path / "heard.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(ValueError, match="there is no video in the file"):
        read_clip((tmp_path / "heard.mp4").read_bytes(), 16)
    with av.open(str(tmp_path / "none.mkv"), "w") as file:
        stream = file.add_stream("libx264", rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        file.start_encoding()
    with pytest.raises(ValueError, match=r"the video has no frames|no video that FFmpeg reads"):
        read_clip((tmp_path / "none.mkv").read_bytes(), 16)


def test_without_av_pictures_read_and_video_is_refused_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, picture = (save(shades(2), tmp_path / f"it{ending}").read_bytes() for ending in (".mp4", ".gif"))
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(read_clip(picture, 16)) == 2
    with pytest.raises(MissingPackageError, match=r"counterpoint\[video\]"):
        read_clip(video, 16)


def test_a_folder_of_videos_with_texts_is_data_and_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "films")
    data = load_any(str(root))
    assert isinstance(data, StoredRows)
    assert dict(data.columns) == {"video": "video", "text": "text"}
    clips = data.read("video", np.array([3, 0]))
    assert clips.lengths.tolist() == [5, 2]
    assert clips.frames.shape == (2, 5, 3, 64, 64)
    assert data.suited({"video": Footage(48, 8)}) is data
    assert data.suited({"video": Footage(24, 8)}).read("video", np.array([3])).frames.shape[-1] == 32
    (root / "07.mp4").write_bytes(b"a film that broke")
    left = {(row["reason"], Path(row["file"]).name) for row in report(str(root)).seen.ledger.to_dicts()}
    assert left == {("broken file", "07.mp4")}
    assert main(["data", "describe", str(root)]) == 0
    told = capsys.readouterr().out
    assert "frames, 2 to 5" in told


def test_report_shows_clip_move_and_keeps_length_of_is_shown() -> None:
    clip = cp.Clips.of([shades(3 * PLAYED).numpy()])
    kind, file = play_clip(clip)
    shown = Image.open(io.BytesIO(file))
    assert (kind, shown.format, shown.n_frames, shown.size) == ("image/webp", "WEBP", PLAYED, (32, 32))  # type: ignore[attr-defined]
    moving = thing("video", clip)
    assert (moving.picture or "").startswith("data:image/webp;base64,")
    assert moving.sound is None
    heard = thing("audio", cp.Waves.of([np.zeros(800)], rate=8000))
    assert (heard.picture or "").startswith("data:image/png;base64,")
    assert (heard.sound or "").startswith("data:audio/wav;base64,")
