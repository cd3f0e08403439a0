"""Public corpora as they are laid out: speech with what is said, sounds with captions, shards and data sets of both."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.io import wavfile

from counterpoint.data.base import Data
from counterpoint.data.reading.clips import store_clip
from counterpoint.data.source import load_any, with_columns
from counterpoint.data.sources import columns_of
from counterpoint.data.sources.tables._roles import text_columns
from counterpoint.raw import Clips
from fixtures.files import bitmap

ROWS = 30
SIDES = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def sound(number: int) -> bytes:
    file = io.BytesIO()
    wave = np.sin(np.arange(400) * (1 + number) / 9) * 9000
    wavfile.write(file, 8000, wave.astype(np.int16))
    return file.getvalue()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def said(data: Data) -> dict[str, str]:
    """Return the text of each row by what the row is called."""
    texts = data.read("text", np.arange(len(data)))
    return {data.key(row): text for row, text in enumerate(texts)}


def test_ljspeech(tmp_path: Path) -> None:
    lines = []
    for k in range(ROWS):
        put(tmp_path / "lj" / "wavs" / f"LJ001-{k:04}.wav", sound(k))
        lines.append(f'LJ001-{k:04}|Mr. {k} said "no|' + (f'Mister {k} said "no' if k else ""))
    (tmp_path / "lj" / "metadata.csv").write_text("\n".join([*lines, "LJ001-9999|gone|gone"]))
    data = load_any(f"{tmp_path / 'lj'},broken=0.1")
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert len(data) == ROWS
    assert said(data)["LJ001-0003"] == 'Mister 3 said "no'
    assert said(data)["LJ001-0000"] == 'Mr. 0 said "no'
    assert any(title == "lost: no such file" for title in data.findings())
    assert load_any(f"{tmp_path / 'lj' / 'metadata.csv'},broken=0.1").columns == data.columns
    beside = tmp_path / "lj" / "other.parquet"  # a table of another form beside the recordings
    rows = {
        "file_name": [f"wavs/LJ001-{k:04}.wav" for k in range(ROWS)],
        "text": [f"no {k}" for k in range(ROWS)],
    }
    pl.DataFrame(rows).write_parquet(beside)
    assert set(said(load_any(str(beside))).values()) == set(rows["text"])


def test_common_voice(tmp_path: Path) -> None:
    for side, start in zip(SIDES, range(0, ROWS, 10), strict=True):
        rows = [
            {
                "client_id": f"c{k // 2}",
                "path": f"common_voice_{k}.wav",
                "sentence": f"Satz {k}.",
                "gender": "fm"[k % 2],
            }
            for k in range(start, start + 10)
        ]
        for k in range(start, start + 10):
            put(tmp_path / "cv" / "clips" / f"common_voice_{k}.wav", sound(k))
        pl.DataFrame(rows).write_csv(tmp_path / "cv" / f"{side}.tsv", separator="\t")
        pl.DataFrame(rows).write_csv(tmp_path / "cv" / "validated.tsv", separator="\t")
    data = load_any(str(tmp_path / "cv"))
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert [len(rows) for rows in data.splits.sides.values()] == [10, 10, 10]
    assert data.read("text", data.splits.test["held out"][:2]) == ["Satz 20.", "Satz 21."]
    assert data.labels["gender"].names == ("f", "m")


def test_fluent_speech_commands(tmp_path: Path) -> None:
    for name, start in zip(("train", "valid", "test"), range(0, ROWS, 10), strict=True):
        rows = [
            {
                "": k,
                "path": f"wavs/speakers/s{k}/{k}.wav",
                "speakerId": f"s{k}",
                "transcription": f"turn on light {k}",
                "action": ("activate", "deactivate")[k % 2],
                "object": ("lights", "music", "none")[k % 3],
            }
            for k in range(start, start + 10)
        ]
        for row in rows:
            put(tmp_path / "fsc" / str(row["path"]), sound(int(str(row[""]))))
        (tmp_path / "fsc" / "data").mkdir(exist_ok=True)
        pl.DataFrame(rows).write_csv(tmp_path / "fsc" / "data" / f"{name}_data.csv")
    data = load_any(str(tmp_path / "fsc"))
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert [len(rows) for rows in data.splits.sides.values()] == [10, 10, 10]
    assert data.labels["action"].names == ("activate", "deactivate")
    assert data.read("text", data.splits.train[:1]) == ["turn on light 0"]


@pytest.mark.parametrize("called", ["{}.wav", "Y{}.wav", "{}_30.wav", "audio/{}_30000_40000.wav"])
def test_audiocaps(called: str, tmp_path: Path) -> None:
    names = [f"ab_{k:02}-x_{k:03}" for k in range(ROWS)]  # eleven characters, some of them underscores
    for k, name in enumerate(names):
        put(tmp_path / "caps" / called.format(name), sound(k))
    # Each of the two links leads to a folder around it: there would be no end of paths.
    for link in ("again", "more"):
        (tmp_path / "caps" / link).symlink_to(tmp_path / "caps", target_is_directory=True)
    rows = [
        {
            "audiocap_id": 10 * k + n,
            "youtube_id": names[k],
            "start_time": 30,
            "caption": f"A dog {k} barks {n}",
        }
        for k in range(ROWS)
        for n in range(2)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "caps" / "all.csv")
    data = load_any(str(tmp_path / "caps" / "all.csv"))
    assert dict(data.columns) == {"audio": "audio", "text": "text"}
    assert len(data) == ROWS
    assert list(data.evaluation_texts("text", 3)) == ["A dog 3 barks 0", "A dog 3 barks 1"]
    expected = wavfile.read(io.BytesIO(sound(3)))[1] / 32768
    wave = data.read("audio", np.array([3])).samples[0, ::2]
    np.testing.assert_allclose(wave[50:350], expected[50:350], atol=0.02)


def test_a_table_names_records_of_wfdb_without_their_ending(tmp_path: Path) -> None:
    wfdb = pytest.importorskip("wfdb")
    for k in range(ROWS):
        wave = np.sin(np.arange(60) * (k + 1) / 9)[:, None]
        (tmp_path / "ecg" / "records").mkdir(parents=True, exist_ok=True)
        wfdb.wrsamp(f"r{k}", 50, ["mV"], ["I"], wave, fmt=["16"], write_dir=str(tmp_path / "ecg" / "records"))
    rows = [{"signal": f"records/r{k}", "note": f"a wave {k}"} for k in range(ROWS)]
    pl.DataFrame(rows).write_csv(tmp_path / "ecg" / "it.csv")
    asked = columns_of(["series=signal", "text=note"])
    data = load_any(with_columns(str(tmp_path / "ecg" / "it.csv"), asked))
    assert dict(data.columns) == {"series": "series", "text": "text"}
    assert len(data) == ROWS


def tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def array(number: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.full((4, 2), number, np.float32))
    return file.getvalue()


def test_shards_of_sounds_and_of_series(tmp_path: Path) -> None:
    for suffix, make, modality in (("wav", sound, "audio"), ("npy", array, "series")):
        members: dict[str, bytes] = {}
        for k in range(ROWS):
            members[f"{k:03}.{suffix}"] = make(k)
            told = {"caption": f"number {k}", "kind": "ab"[k % 2]}
            members |= {f"{k:03}.json": json.dumps(told).encode()} if k % 2 else {}
            members |= {} if k % 2 else {f"{k:03}.txt": f"number {k}".encode()}
        data = load_any(str(tar(tmp_path / f"{suffix}.tar", members)))
        assert dict(data.columns) == {modality: modality, "text": "text"}
        assert len(data) == ROWS
        assert data.read("text", np.array([4, 5])) == ["number 4", "number 5"]
        assert data.present(modality, np.arange(ROWS)).all()


def test_shards_of_several_modalities_have_gaps(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for k in range(ROWS):
        members |= {f"{k:03}.bmp": bitmap(k)} if k % 3 else {}
        members |= {f"{k:03}.wav": sound(k)} if k % 4 != 1 else {}
        members |= {f"{k:03}.npy": array(k), f"{k:03}.txt": f"number {k}".encode()}
    path = tar(tmp_path / "it.tar", members)
    data = load_any(str(path))
    assert dict(data.columns) == {"image": "image", "text": "text", "audio": "audio"}
    assert data.present("image", np.arange(4)).tolist() == [False, True, True, False]
    assert data.present("audio", np.arange(6)).tolist() == [True, False, True, True, True, False]
    asked = load_any(with_columns(str(path), {"series": "npy"}))
    assert "series" in asked.columns


def test_features_of_datasets_are_read_without_decoding(tmp_path: Path) -> None:
    import datasets
    import pyarrow as pa
    from pyarrow import parquet

    place = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    features = datasets.Features(
        {
            "heard": datasets.Audio(decode=False),
            "picture": datasets.Image(decode=False),
            "signal": datasets.Sequence(datasets.Sequence(datasets.Value("float32"))),
            "sentence_1": datasets.Value("string"),
        }
    )
    table = pa.table(
        {
            "heard": pa.array([{"bytes": sound(k), "path": None} for k in range(ROWS)], place),
            "picture": pa.array(
                [{"bytes": bitmap(k), "path": None} if k % 4 else None for k in range(ROWS)], place
            ),
            "signal": pa.array([[[float(k), 1.0], [2.0, 3.0]] for k in range(ROWS)]),
            "sentence_1": pa.array([f"number {k}" for k in range(ROWS)]),
        }
    )
    told = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
    path = tmp_path / "it.parquet"
    parquet.write_table(table.replace_schema_metadata(told), path)
    data = load_any(str(path))
    assert dict(data.columns) == {"audio": "audio", "text": "text", "image": "image"}
    assert data.present("image", np.arange(5)).tolist() == [False, True, True, True, False]
    asked = load_any(with_columns(str(path), columns_of(["heard", "signal", "image=picture"])))
    assert dict(asked.columns) == {"heard": "audio", "signal": "series", "image": "image"}
    assert asked.read("signal", np.array([5])).measured.tolist() == [[[5.0, 1.0], [2.0, 3.0]]]


@pytest.mark.parametrize(
    ("name", "path", "remote"),
    [("shot", None, False), ("image", None, False), ("shot", "it.mp4", False), ("shot", None, True)],
)
def test_videos_of_datasets_are_clips_by_their_feature_alone(
    name: str, path: str | None, remote: bool, tmp_path: Path
) -> None:
    import datasets
    import fsspec

    features = datasets.Features({name: datasets.Video(), "caption": datasets.Value("string")})
    clips = [Clips.of([np.full((k % 3 + 1, 3, 8, 8), k, np.uint8)]) for k in range(ROWS)]
    cells = [{"bytes": store_clip(clip)[1], "path": path} for clip in clips]
    rows = {name: cells, "caption": [f"number {k}" for k in range(ROWS)]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.to_parquet(tmp_path / "it.parquet")
    where = str(tmp_path / "it.parquet")
    if remote:
        where = "memory://videos/it.parquet"
        fsspec.filesystem("memory").pipe_file("/videos/it.parquet", (tmp_path / "it.parquet").read_bytes())
    data = load_any(where)
    assert dict(data.columns) == {"video": "video", "text": "text"}
    read = data.read("video", np.array([5, 1]))
    assert read.lengths.tolist() == [3, 2]
    assert read.frames[0, 0].unique().tolist() == [5]
    if not remote:
        made.save_to_disk(tmp_path / "kept")
        assert dict(load_any(str(tmp_path / "kept")).columns) == {"video": "video", "text": "text"}


def test_transcripts_are_the_captions_of_sounds() -> None:
    assert text_columns(["audio", "transcript", "show"], {}) == ("transcript",)
