"""Collections: what each reads, on small trees in the form of its package, and on the package where it is installed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint import data
from counterpoint.data.collections import COLLECTIONS
from counterpoint.data.collections._qt import resources
from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load_any, located, short_name, with_columns
from counterpoint.registry import MissingPackageError, UnknownNameError
from fixtures.stamps import picture, spoken, stamps


def drawings(root: Path) -> Path:
    """Write 24 drawings as eduActiv8 installs them, and a word that has none."""
    words = root / "i18n" / "custom"
    (words / "a4a_py").mkdir(parents=True)
    names = [f"thing {number}" for number in range(24)]
    for number, name in enumerate(names):
        picture(root / "res/images/art4apps/animals" / f"{name.replace(' ', '_')}.jpg", 10 * number)
    listed = [*names, "nothing"]
    (words / "a4a_words.py").write_text(f"d = dict()\nd['a4a_animals'] = {listed}\n")
    for language, word in (("en_GB", "thing"), ("fr", "chose")):
        own = [name.replace("thing", word) for name in listed]
        (words / "a4a_py" / f"{language}.py").write_text(f"d = dict()\nd['a4a_animals'] = {own}\n")
    return root


def resource_file(files: dict[str, bytes], packed: frozenset[str] = frozenset()) -> bytes:
    """Return a Qt resource file, version 1, of files in one folder each."""
    names, data_, nodes = b"", b"", []

    def name_of(text: str) -> int:
        nonlocal names
        start = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return start

    count = len(files)
    nodes.append(struct.pack(">IHII", 0, 2, count, 1))  # the root: a folder whose children follow
    leaves = []
    for number, (path, content) in enumerate(files.items()):
        folder, _, file = path.strip("/").partition("/")
        nodes.append(struct.pack(">IHII", name_of(folder), 2, 1, 1 + count + number))
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if path in packed else content
        leaves.append(struct.pack(">IHHHI", name_of(file), 1 if path in packed else 0, 0, 0, len(data_)))
        data_ += struct.pack(">I", len(stored)) + stored
    tree = b"".join([*nodes, *leaves])
    start = 20
    return (
        b"qres"
        + struct.pack(">4I", 1, start, start + len(tree), start + len(tree) + len(data_))
        + tree
        + data_
        + names
    )


def monuments(root: Path, folder: Path) -> Path:
    """Write ten monuments and ten animals as GCompris installs them."""
    root.mkdir()
    for activity, kind in (("explore_monuments", "a"), ("explore_world_animals", "b")):
        files = {}
        items = []
        for number in range(10):
            shown = folder / "one.webp"
            Image.new("RGB", (12, 12), (20 * number, 90, 10 if kind == "a" else 200)).save(
                shown, lossless=True
            )
            files[f"/{kind}{number}/p.webp"] = shown.read_bytes()
            items.append(
                f'{{"title": qsTr("The {kind} {number}"), "text": qsTr("It is \\"old\\", {kind} {number}."), '
                f'"image2": "qrc:/{kind}{number}/p.webp"}}'
            )
        files["/board/board1.qml"] = "\n".join(items).encode()
        (root / f"{activity}.rcc").write_bytes(resource_file(files, frozenset({"/board/board1.qml"})))
    return root


def opened(source: str) -> PairedData:
    return data.load(source, 12)


def texts(source: PairedData) -> dict[str, tuple[str, ...]]:
    return {source.key(row): tuple(source.captions(row)) for row in range(len(source))}


def test_stamps_have_caption_in_one_language_and_folder_as_kind(tmp_path: Path) -> None:
    found = opened(f"stamps:{stamps(tmp_path / 'stamps')}")
    assert len(found) == 31
    assert texts(found)["animals/more/thing3"] == ("A thing 3.",)
    assert found.labels["kind"].names == ("animals", "food", "town")  # of symbols there is one
    assert "GPL-2" in found.attribution
    assert "text without a picture" in str(found.findings())
    german = opened(f"stamps:{tmp_path / 'stamps'},language=de")
    assert len(german) == 10
    assert texts(german)["animals/more/thing3"] == ("Ein Ding 3.",)
    shared = {found.key(row): found.ids[row] for row in range(len(found))}
    assert all(shared[german.key(row)] == german.ids[row] for row in range(len(german)))


def test_captions_that_are_read_aloud_are_a_column_with_gaps(tmp_path: Path) -> None:
    place = f"stamps:{spoken(tmp_path / 'stamps')}"
    assert dict(opened(place).columns) == {"image": "image", "text": "text"}
    assert len(opened(f"{place},language=de")) == 10
    found = opened(f"{place},language=fr")
    assert dict(found.columns) == {"image": "image", "text": "text", "audio": "audio"}
    assert len(found) == 31
    lacking = {
        column: {found.key(row) for row in range(31) if not found.present(column, np.array([row]))[0]}
        for column in found.columns
    }
    assert lacking["image"] == set()
    assert lacking["audio"] == {"animals/more/thing0", "food/more/thing1", "symbols/cross"}
    assert len(lacking["text"]) == 7
    assert lacking["audio"] & lacking["text"] == {"animals/more/thing0", "symbols/cross"}
    assert "audio: sounds, lacking in 3 rows" in found.findings()["columns"]


def test_columns_of_a_collection_are_those_that_are_asked_for(tmp_path: Path) -> None:
    source = f"stamps:{spoken(tmp_path / 'stamps')},language=fr,broken=0.1"
    asked = with_columns(source, {"image": "image", "sound": "sound"})
    found = load_any(asked, 12)
    assert dict(found.columns) == {"image": "image", "sound": "audio"}
    assert found.present("sound", np.arange(31)).sum() == 24
    with pytest.raises(ValueError, match="unknown column of stamps 'sounds': did you mean 'sound'"):
        load_any(with_columns(source, {"sounds": "sounds"}), 12)


def test_a_package_may_be_unpacked_anywhere(tmp_path: Path) -> None:
    stamps(tmp_path / "usr" / "share" / "tuxpaint" / "stamps")
    assert len(opened(f"stamps:{tmp_path}")) == 31


def test_drawings_are_words_with_a_picture_each(tmp_path: Path) -> None:
    found = opened(f"drawings:{drawings(tmp_path / 'game')}")
    assert texts(found)["animals/thing 3"] == ("thing 3",)
    assert "word without a picture" in str(found.findings())
    assert texts(opened(f"drawings:{tmp_path / 'game'},language=fr"))["animals/thing 3"] == ("chose 3",)


def test_monuments_have_a_paragraph_and_a_name(tmp_path: Path) -> None:
    found = opened(f"monuments:{monuments(tmp_path / 'rcc', tmp_path)}")
    assert len(found) == 20
    row = next(row for row in range(20) if "The b 4" in found.captions(row))
    assert found.captions(row) == ('It is "old", b 4.', "The b 4")
    assert found.images(np.array([row]))[:, 0].float().mean() == pytest.approx(80, abs=2)
    assert found.labels["kind"].names == ("animal", "monument")


@pytest.mark.parametrize("length", [3, 19, 60, 200])
def test_a_resource_file_that_is_cut_is_refused(length: int, tmp_path: Path) -> None:
    whole = resource_file({"/a/b.txt": b"some text", "/c/d.txt": b"other text"})
    (tmp_path / "x.rcc").write_bytes(whole)
    assert [found.read() for found in resources(tmp_path / "x.rcc").values()] == [b"some text", b"other text"]
    (tmp_path / "x.rcc").write_bytes(whole[: min(length, len(whole) - 40)])
    with pytest.raises(ValueError, match=r"x.rcc cannot be read as a Qt resource file"):
        resources(tmp_path / "x.rcc")


def test_what_zstandard_packed_is_named(tmp_path: Path) -> None:
    whole = bytearray(resource_file({"/a/b.txt": b"some text"}))
    struct.pack_into(">H", whole, 20 + 2 * 14 + 4, 4)  # the flags of the file, behind its root and its folder
    (tmp_path / "x.rcc").write_bytes(whole)
    with pytest.raises(ValueError, match=r"x\.rcc .*: /a/b\.txt is packed by Zstandard"):
        resources(tmp_path / "x.rcc")


@pytest.mark.parametrize("name", COLLECTIONS.names())
def test_a_collection_that_is_not_here_says_what_to_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = COLLECTIONS.get(name)
    monkeypatch.setattr(kind, "home", tmp_path / "nowhere")
    with pytest.raises(
        MissingPackageError, match=f"apt-get install {kind.package}, or unpack .*{name}:FOLDER"
    ):
        opened(name)
    with pytest.raises(FileNotFoundError, match=f"{name}: there is no folder .*gone"):
        opened(f"{name}:{tmp_path / 'gone'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty (holds no|lacks)"):
        opened(f"{name}:{tmp_path / 'empty'}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("language=xx", "unknown language of the stamps in .* 'xx'"),
        ("langage=de", "unknown option of stamps 'langage': did you mean 'language'"),
        ("language", "is no option; write name=value"),
        ("broken=2", "is a number from 0 to below 1"),
    ],
)
def test_options_that_a_collection_cannot_take(options: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        opened(f"stamps:{stamps(tmp_path / 'stamps')},{options}")


def test_monuments_are_in_one_language(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="monuments has one language alone"):
        opened(f"monuments:{tmp_path},language=de")


def test_a_run_finds_its_collection_again(tmp_path: Path) -> None:
    stamps(tmp_path / "stamps")
    assert located("stamps", None) == "stamps"
    assert located("stamps:stamps,language=de", str(tmp_path)) == f"stamps:{tmp_path / 'stamps'},language=de"
    with pytest.raises(FileNotFoundError, match="is not here, nor where the run was begun"):
        located("stamps:stamps", None)
    assert short_name(f"stamps:{tmp_path / 'stamps'},language=de") == "stamps-stamps"
    assert short_name("stamps") == "stamps"


def test_the_error_of_an_unknown_name_lists_collections() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'stamps'"):
        opened("stamp")


@pytest.mark.parametrize(("name", "rows"), [("stamps", 951), ("drawings", 579), ("monuments", 64)])
def test_the_package_itself_where_it_is_installed(name: str, rows: int) -> None:
    kind = COLLECTIONS.get(name)
    if not kind.home.is_dir():
        pytest.skip(f"needs apt-get install {kind.package}")
    assert len(opened(name)) >= rows
