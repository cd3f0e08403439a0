"""Users' tar shards, in the forms that WebDataset tools write."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.sharded.writing import ShardSample, write_shard
from counterpoint.data.source import load, load_any
from counterpoint.data.sources import Ledger, Records, read
from counterpoint.data.synthetic.clips.clip import save
from fixtures.files import write_pairs


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs")


def shards(table: Path, folder: Path) -> Path:
    """Write the pairs of a table, a shard for each split, captions as text."""
    for (side,), part in pl.read_csv(table).group_by("split"):
        files = {}
        for row in part.iter_rows(named=True):
            stem = f"some/{row['file_name'].removesuffix('.png')}"
            files[f"{stem}.png"] = (table.parent / row["file_name"]).read_bytes()
            files[f"{stem}.txt"] = row["text"].encode()
        tar(folder / f"{side}-000.tar", files)
    return folder


def test_data_sets_in_two_folders_may_have_the_same_ids(tmp_path: Path) -> None:
    for folder in ("animals", "jobs"):
        files = {"0.png": b"not read here", "0.json": json.dumps({"text": folder, "id": "cook"}).encode()}
        tar(tmp_path / folder / "train-0.tar", files)
    records = read(f"{tmp_path}/*/*.tar", Ledger())
    assert dict(zip(records.frame["id"], records.frame["text"].list.first(), strict=True)) == {
        "animals/cook": "animals",
        "jobs/cook": "jobs",
    }


def test_shards_are_the_pairs_they_were_made_of(table: Path, tmp_path: Path) -> None:
    of_table, of_shards = Pairs(table, 24), load(str(shards(table, tmp_path / "shards")), 18)
    assert len(of_shards) == len(of_table) == 70
    by_caption = {of_table.captions(row)[0]: row for row in range(70)}
    rows = np.array([by_caption[of_shards.captions(row)[0]] for row in range(70)])
    assert (of_shards.images(np.arange(70)) == of_table.images(rows)).all()
    assert set(rows[of_shards.splits.train]) == set(of_table.splits.train)
    assert set(rows[of_shards.splits.test["held out"]]) == set(of_table.splits.test["held out"])


def test_one_tar_file_and_several_captions(table: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(table)
    files = {}
    for row in frame.iter_rows(named=True):
        stem = row["file_name"].removesuffix(".png")
        files[f"{stem}.PNG"] = (table.parent / row["file_name"]).read_bytes()
        files[f"{stem}.json"] = json.dumps(
            {"text": [row["text"], "again"], "split": row["split"], "id": 1000 - len(files)}
        ).encode()
        files[f"{stem}.cls"] = b"3"
    data = Pairs(tar(tmp_path / "all.tar", files), 24)
    assert len(data) == 70
    assert list(data.captions(0)) == [frame["text"][0], "again"]
    assert data.ids[0] == 999
    assert len(data.splits.train) == (frame["split"] == "train").sum()


PNG = b"not read before the captions are"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": PNG}, r"one\.tar holds pictures without captions: give"),
        ({"a.png": PNG, "b.png": PNG, "b.txt": b"b"}, r"1 × no caption \(.*one\.tar, a: add a a\.txt or"),
        ({"a.png": PNG, "a.txt": b" \n"}, r"1 × empty caption \(.*one\.tar, a: add"),
        ({"a.png": PNG, "a.json": b"{"}, r"1 × broken JSON \(.*one\.tar, a\.json: Expecting"),
        ({"a.png": PNG, "a.json": b"[" * 100_000}, r"1 × broken JSON \(.*one\.tar, a\.json: maximum recursion"),
        ({"a.png": PNG, "a.json": b'{"text": "x", "split": "tset"}'}, "split 'tset' is none of train"),
        ({"a.png": PNG, "a.json": b'{"text": "x", "id": 1}', "b.png": PNG, "b.json": b'{"text": "y", "id": 1}'},
         "b has the id 1 of"),
        ({"a.txt": b"a text"}, "has no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_shard(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pairs(tar(tmp_path / "one.tar", files))


def read_of(path: Path, option: str = "") -> tuple[Records, pl.DataFrame]:
    ledger = Ledger()
    return read(f"{path}{option}", ledger), ledger.frame.select("kind", "reason", "row")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("name", ["000.tar", "000.tar.{}"])
def test_a_compressed_shard_is_refused_with_what_to_do(tmp_path: Path, mode: str, name: str) -> None:
    path = tmp_path / name.format(mode)
    with tarfile.open(path, f"w:{mode}") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
    with pytest.raises(ValueError, match=r"000\.tar.* is compressed, .*: write the tar file itself") as told:
        load(str(path))
    assert "\n" not in str(told.value)


def test_names_that_lead_out_of_a_shard_are_passed_over(tmp_path: Path) -> None:
    names = ["../../x", "/etc/x", "a/../../x", "..", "C:/x", "fine..name", "a/b"]
    files = {f"{name}.{kind}": kind.encode() for name in names for kind in ("png", "txt")}
    found, ledger = read_of(tar(tmp_path / "it.tar", files))
    assert [record.key for record in found] == ["a/b"]
    assert ledger.filter(reason="name that leads out of the shard")["row"].to_list() == [
        f"{name}.{kind}" for name in ("../../x", "/etc/x", "a/../../x", "C:/x") for kind in ("png", "txt")
    ]


def test_links_in_a_shard_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    path = tar(tmp_path / "it.tar", {"a.png": b"x", "a.txt": b"fine"})
    with tarfile.open(path, "a") as archive:
        for kind, target in ((tarfile.SYMTYPE, str(tmp_path / "secret.png")), (tarfile.LNKTYPE, "a.png")):
            member = tarfile.TarInfo(f"{kind.decode()}.png")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    found, ledger = read_of(path)
    assert [record.key for record in found] == ["a"]
    assert ledger["reason"].to_list() == ["link or device in a shard"] * 2


def test_columns_of_json_have_the_names_that_the_user_says(tmp_path: Path) -> None:
    facts = {
        "alt": ["one", "two"],
        "caption": "not this",
        "uid": 7,
        "fold": "val",
        "product": "p",
        "kind": "cat",
    }
    path = tar(tmp_path / "train-0.tar", {"0.png": b"x", "0.json": json.dumps(facts).encode()})
    (record,), _ = read_of(path, ",columns=text:alt+id:uid+split:fold+group:product")
    assert record.cells["text"] == ("one", "two")
    assert (record.id, record.split, record.group) == ("7", "validation", "p")
    assert record.labels == {"caption": "not this", "product": "p", "kind": "cat"}
    (record,), _ = read_of(path)
    assert (record.cells["text"], record.split) == (("not this",), "train")


@pytest.mark.parametrize("noted", [False, True])
def test_ids_of_a_shard_are_all_numbers_or_all_texts(noted: bool, tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    samples = [
        ShardSample(name, {"image": ("png", b"x")}, "a", {"id": value, "text": ["a"]}, {})
        for name, value in (("a", "one"), ("b", 2))
    ]
    write_shard(path, samples, "webdataset", {}, metadata={"image": "image", "text": "text"} if noted else {})
    with pytest.raises(ValueError, match="some ids are numbers") as caught:
        read_of(path)
    assert f'the first of them 2 ({path}, b), and some texts, the first of them "one" ({path}, a)' in str(
        caught.value
    )


def test_files_beside_pictures_are_read_where_they_are_named(tmp_path: Path) -> None:
    files = {f"{k}.{kind}": b"x" for k in range(2) for kind in ("png", "wav", "npy", "txt")}
    path = tar(tmp_path / "it.tar", files)
    read = {
        said: [*read_of(path, f",columns={said}" if said else "")[0].columns]
        for said in ("", "image", "audio+text", "image+series", "text:alt", "id:uid")
    }
    assert read == {
        "": ["image", "audio", "text"],
        "image": ["image", "text"],
        "audio+text": ["audio", "text"],
        "image+series": ["image", "series", "text"],
        "text:alt": ["image", "audio", "text"],
        "id:uid": ["image", "audio", "text"],
    }
    with pytest.raises(ValueError, match=r"unknown column of .*it\.tar 'sereis': did you mean 'series'\?"):
        read_of(path, ",columns=image+sereis")
    with pytest.raises(
        ValueError, match=r"unknown column of .*'table'.*\(known: audio, image, series, text\)"
    ):
        read_of(path, ",columns=image+table:age")
    with pytest.raises(ValueError, match=r"unknown column of .*it\.tar 'video'.*\(known: image, text\)"):
        read_of(path, ",columns=image+video")


@pytest.mark.parametrize("caption", ["txt", "json"])
def test_sounds_and_videos_in_shards_are_columns(caption: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="pip install 'counterpoint[audio]'")
    pytest.importorskip("av", reason="pip install 'counterpoint[video]'")
    files = {}
    for k in range(30):
        sound, film = io.BytesIO(), tmp_path / "film.mp4"
        soundfile.write(sound, np.full(400, k / 40), 8000, format="FLAC")
        save(torch.full((3, 3, 32, 32), 8 * k, dtype=torch.uint8), film)
        said = f"number {k}"
        files |= {f"{k:02}.flac": sound.getvalue(), f"{k:02}.mp4": film.read_bytes()}
        files[f"{k:02}.{caption}"] = (said if caption == "txt" else json.dumps({"text": said})).encode()
    data = load_any(str(tar(tmp_path / "it.tar", files)))
    assert dict(data.columns) == {"audio": "audio", "video": "video", "text": "text"}
    assert len(data) == 30
    for row in range(0, 30, 7):
        at = np.array([row])
        number = int(data.read("text", at)[0].removeprefix("number "))
        waves, clips = data.read("audio", at), data.read("video", at)
        assert waves.samples[0, 200].item() == pytest.approx(number / 40, abs=1e-2)
        assert int(clips.lengths) == 3
        assert float(clips.frames[0].float().mean()) == pytest.approx(8 * number, abs=12)


def test_a_sample_without_a_caption_is_counted_and_not_fatal(tmp_path: Path) -> None:
    files = {f"{k}.png": b"x" for k in range(3)} | {"0.txt": b"a", "1.caption": b"b", "4.txt": b"no picture"}
    found, ledger = read_of(tar(tmp_path / "it.tar", files))
    assert found.frame["text"].to_list() == [["a"], ["b"]]
    assert ledger.rows() == [("passed over", "no picture in an example", "4"), ("lost", "no caption", "2")]


def test_names_in_a_shard_need_not_be_utf_8(tmp_path: Path) -> None:
    picture = write_pairs(tmp_path / "pairs").parent / "0.png"
    files = {}
    for number, stem in enumerate(("caf\udce9", "caf\udce8")):
        files |= {f"{stem}.png": picture.read_bytes(), f"{stem}.txt": f"caption {number}".encode()}
    found = read(str(tar(tmp_path / "it" / "0.tar", files)), Ledger())
    assert found.frame["text"].to_list() == [["caption 0"], ["caption 1"]]
    assert found.frame["key"].to_list() == ["caf\\udce9", "caf\\udce8"]
    assert [asset.read_bytes() for asset in found.assets("image")] == [picture.read_bytes()] * 2
