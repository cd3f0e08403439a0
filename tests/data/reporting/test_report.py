"""Reports tell what is in files and what is wrong with them, whatever is broken."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from counterpoint.cli import main
from counterpoint.data.pictures.traits import Traits, traits_of
from counterpoint.data.reporting import DataReport, report
from counterpoint.data.reporting._section import Finding, Share
from counterpoint.data.reporting._seen import ColumnOverview
from counterpoint.data.reporting.sections.columns import _lengths
from counterpoint.data.sharded.indexing import index
from counterpoint.data.source import load_any
from counterpoint.recipes.schema import Towers
from fixtures import pictures as made
from fixtures.shards import write_shards

STAMPS = Path("/usr/share/tuxpaint/stamps")
CAPTIONS = (
    "a yellow bird sitting on a branch of an old tree in the garden behind the house",
    "IMG_0231.jpg",
    "see https://example.org/dog for a dog",
    "a <b>bold</b> cat",
    "de.utf8=Ein roter Apfel",
    "dog",
)


def picture(seed: int, width: int = 120, height: int = 90) -> Image.Image:
    """Draw something with shapes at every scale."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize((width, height)), float)
        for n in (3, 6, 12)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty pairs with one of everything that a report tells of."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows: list[Sequence[str]] = []
    for n in range(30):
        picture(n).save(folder / f"{n}.png")
        text = CAPTIONS[n] if n < len(CAPTIONS) else f"the {n}th of many things that are seen here every day"
        split = "train" if n < 20 else "validation" if n < 25 else "test"
        rows.append((f"{n}.png", text, split, "even" if n % 2 == 0 else "odd"))
    shutil.copy(folder / "0.png", folder / "26.png")
    picture(1).resize((60, 45)).save(folder / "27.png")
    (folder / "28.png").write_bytes(made.bomb(40_000, 40_000))
    (folder / "29.png").unlink()
    (folder / "2.png").write_bytes(made.turned(picture(2), "JPEG", 6))
    picture(3, 200, 60).save(folder / "3.png")
    Image.new("RGBA", (100, 100)).save(folder / "4.png")
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "text", "split", "kind"), *rows])
    return folder / "metadata.csv"


def line(found: DataReport, section: str, beginning: str) -> Finding:
    named = [each for each in found.sections[section] if each.name.startswith(beginning)]
    return min(named, key=lambda each: len(each.name))


def test_everything_is_counted_and_named(table: Path) -> None:
    found = report(str(table), towers=Towers(image_size=48))
    assert line(found, "contents", "examples").value == 28
    assert line(found, "contents", "splits").value == {"train": 20, "validation": 5, "test": 3}
    assert line(found, "pictures", "formats").value == {"PNG": 27, "JPEG": 1}
    assert line(found, "pictures", "longer than twice").examples == ("3.png",)
    assert line(found, "pictures", "smaller than the 64 pixels").examples == ("3.png", "27.png")
    assert line(found, "pictures", "can be transparent").examples == ("4.png",)
    assert line(found, "pictures", "held otherwise").examples == ("2.png",)
    assert line(found, "captions", "words").value["most"] == 17
    for name, row in {"like names": 1, "with addr": 2, "with markup": 3, "like lines": 4}.items():
        only = line(found, "captions", name)
        assert only.value == {"count": 1, "of": 28}
        assert only.examples == (f"{row}.png: {CAPTIONS[row]}",)
        assert only.warning
    assert line(found, "captions", "of one word").value["count"] == 2
    assert line(found, "duplicates", "pictures that are the same file").examples == ("0.png, 26.png",)
    assert line(found, "duplicates", "pictures that look alike").value["count"] == 4
    assert line(found, "leakage between splits", "test: share their picture").examples == ("26.png",)
    assert line(found, "labels", "kind").value == {
        "classes": 2,
        "evenness": 1.0,
        "imbalance": 1.0,
        "single": 0,
        "without": 0,
        "largest": 14,
        "rare": 0,
    }
    assert line(found, "left out", "examples that cannot be used").value == {"count": 2, "of": 30}
    too_large = line(found, "left out", "cannot be used: picture of too many pixels")
    assert "28.png" in too_large.examples[0]
    assert found.left_out is not None
    assert len(found.left_out.read_text().splitlines()) == 3


def test_pictures_with_hardly_anything_to_be_seen_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    scan = np.random.default_rng(0).integers(0, 2**12, (64, 64)).astype(np.uint16)
    pictures = {
        "scan": Image.fromarray(scan),
        "scaled": Image.fromarray(scan * 16),
        "empty": Image.new("L", (64, 64), 9),
    }
    for name, one in pictures.items():
        one.save(tmp_path / f"{name}.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,text\n" + "".join(f"{name}.png,a picture that is {name}\n" for name in pictures)
    )
    found = report(str(tmp_path / "metadata.csv"))
    dark, flat = (line(found, "pictures", name) for name in ("dark throughout", "of one colour"))
    assert (dark.examples, flat.examples) == (("scan.png",), ("empty.png",))
    assert dark.warning


def test_data_over_an_index_is_looked_at_in_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    index(write_shards(tmp_path / "shards"), tmp_path / "index", jobs=1)
    found = report(str(tmp_path / "index"), sample=50)
    assert line(found, "contents", "examples").value == 120
    assert line(found, "contents", "examples looked at").value == 50
    assert line(found, "contents", "splits").value == {"train": 80, "validation": 20, "test": 20}
    assert line(found, "captions", "captions").value["count"] == 50
    assert len(found.seen.pictures) == 50


@pytest.mark.skipif(not STAMPS.is_dir(), reason="install tuxpaint-stamps-default")
def test_stamps_as_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    found = report(str(STAMPS), sample=60)
    assert set(line(found, "pictures", "formats").value) == {"PNG", "SVG"}
    assert line(found, "captions", "languages").value["unclear, together"] == "en"
    assert line(found, "labels", "folder").value["classes"] == 16
    assert line(found, "left out", "passed over: translations").value > 900
    assert line(found, "left out", "passed over: audio").value > 8000
    assert line(found, "left out", "passed over: picture without a caption").value == 11


def test_captions_are_measured_against_the_recipe(table: Path) -> None:
    assert not [f for f in report(str(table)).sections["captions"] if f.name.startswith("cut off")]
    cut = line(report(str(table), towers=Towers(context=14, image_size=96)), "captions", "cut off")
    assert cut.name == "cut off by the recipe's context of 14 tokens (towers.context)"
    assert cut.examples[0].startswith("a yellow bird")


def test_a_sample_has_intervals(table: Path) -> None:
    found = report(str(table), sample=10)
    formats = line(found, "pictures", "formats")
    assert "looked at" in formats.text
    assert sum(formats.value.values()) <= 10
    assert report(str(table), sample=10).plain() == found.plain()


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 100), (10, 10)])
def test_an_interval_holds_the_share(count: int, of: int) -> None:
    low, high = Share(count, of, sampled=True).interval
    assert 0 <= low <= count / of <= high <= 1
    assert high - low > 0.05


def test_pictures_without_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for n in range(6):
        folder = tmp_path / "photos" / ("cat", "dog")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(n).save(folder / f"{n}.jpg")
    found = report(str(tmp_path / "photos"))
    assert "captions" not in found.sections
    assert [command.split(" --data ")[0] for command, _ in found.commands] == [
        "counterpoint compare --preset partly-labelled",
        f"counterpoint embed MODEL {tmp_path / 'photos'}",
        "counterpoint compare clip siglip",
    ]
    assert "--labels folder" in found.commands[0][0]
    assert found.sheet() is None


def test_pictures_are_compared_by_the_kind_of_their_labels(tmp_path: Path) -> None:
    def first(name: str, header: str, cells: list[str]) -> str:
        for n in range(len(cells)):
            picture(n).save(tmp_path / f"{n}.png")
        (tmp_path / name).write_text(
            "\n".join([f"file_name{header}", *(f"{n}.png{cell}" for n, cell in enumerate(cells))])
        )
        return report(str(tmp_path / name)).commands[0][0].removeprefix("counterpoint ").split(" --data ")[0]

    assert first("none.csv", "", [""] * 6) == "train moco"
    assert first("numbers.csv", ",age", [f",{n}.5" for n in range(6)]) == "compare --preset numbers"
    assert first("tags.csv", ",seen", [",red|round", ",red", ",round"] * 2) == "compare --preset multi-label"


def test_a_long_tail_is_compared_as_one(tmp_path: Path) -> None:
    for n in range(42):
        folder = tmp_path / "photos" / ("rare" if n < 2 else "frequent")
        folder.mkdir(parents=True, exist_ok=True)
        picture(n).save(folder / f"{n}.png")
    said = [command for command, _ in report(str(tmp_path / "photos")).commands]
    assert any("--preset long-tail" in command for command in said)


def test_the_command(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    assert main(["data", "describe", str(table), "--card", "card.md", "--out", "alike.png"]) == 0
    said = capsys.readouterr().out
    assert "longer than twice" in said
    assert said.rstrip().endswith(f"counterpoint train clip --data {table} --broken 0.07")
    assert "first: 2 of 30 examples cannot be used, and at most 1 % may be left out: repair or remove" in said
    with Image.open("alike.png") as sheet:
        assert sheet.height == 2 * 104
    _, block, text = Path("card.md").read_text().split("---\n", 2)
    assert yaml.safe_load(block) == {
        "pretty_name": str(table),
        "size_categories": ["n<1K"],
        "modalities": ["image", "text"],
        "language": ["en"],
        "task_categories": ["zero-shot-image-classification", "image-to-text"],
        "dataset_info": {
            "splits": [
                {"name": "train", "num_examples": 20},
                {"name": "validation", "num_examples": 5},
                {"name": "test", "num_examples": 3},
            ]
        },
    }
    assert "## Pictures" in text
    assert main(["data", "describe", str(table), "--json", "--sample", "5"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["contents"]["pictures looked at"]["value"] == 5
    assert main(["data", "describe", str(table), "--recipe", "nothing"]) == 1
    assert "nothing" in capsys.readouterr().err


def test_looking_again_decodes_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, seen = report(str(table)).plain(), []

    def counting(data: bytes, most: int) -> Traits:
        seen.append(data)
        return traits_of(data, most)

    monkeypatch.setattr("counterpoint.data.reporting._looking.traits_of", counting)
    assert report(str(table)).plain() == first
    assert seen == [made.bomb(40_000, 40_000)]


def test_commands_that_would_be_refused_are_not_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for n in range(3):
        picture(n).save(tmp_path / f"{n}.png")
    lines = ["image,text", *(f"{n}.png,the {n}th" for n in range(3))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = report(str(tmp_path / "pairs.csv"))
    (divided,) = [finding for finding in found.sections["contents"] if finding.name == "splits"]
    assert "train 2, test 1" in divided.text
    assert divided.warning
    assert len(found.commands) == 1


def food(folder: Path, *, local: Callable[[int], str]) -> Path:
    """Write pictures of food and a table whose header is somebody else's; return the table's path."""
    folder.mkdir(parents=True)
    lines = ["Photo,Food Name,Scientific Name,Local names,Food Group"]
    for n in range(40):
        picture(n).save(folder / f"P{n:03d}.jpg")
        lines.append(f"P{n:03d}.jpg,Bean {n},Genus {n},{local(n)},{('Leaves', 'Roots')[n % 2]}")
    (folder / "foods.csv").write_text("\n".join(lines))
    return folder / "foods.csv"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def dry(found: DataReport) -> list[int]:
    """Return what the dry runs of the recommended commands end with."""
    commands = [shlex.split(command)[1:] for command, _ in found.commands]
    return [main([*command, "--dry-run"]) for command in commands if command[0] in ("compare", "train")]


def test_a_guess_is_told_with_the_alternatives(tmp_path: Path, cache: None) -> None:
    table = food(tmp_path / "food", local=lambda n: f"a long list of the names of food number {n}")
    guess = (
        "image = 'Photo'; text = 'Food Name'; also possible: 'Scientific Name', 'Local names' "
        '(--columns "text=Scientific Name")'
    )
    for source in (table, table.parent):
        found = report(str(source))
        assert line(found, "columns", "guessed").text == guess
        assert line(found, "columns", "text").text == "texts of Food Name"
        assert found.repair == ""
        assert load_any(str(source)).findings()["guessed"] == guess


@pytest.mark.slow
def test_recommended_commands_are_accepted(tmp_path: Path, cache: None) -> None:
    table = food(tmp_path / "food", local=lambda n: "" if n % 5 == 0 else f"one of the names of food {n}")
    for source, repaired in ((str(table), False), (f"{table},columns=text:Local names", True)):
        found = report(source)
        assert bool(found.repair) == repaired
        codes = dry(found)
        assert codes
        assert not any(codes)
    for n in range(13):
        folder = tmp_path / "photos" / ("cat" if n < 7 else "dog" if n < 12 else "buttons")
        folder.mkdir(parents=True, exist_ok=True)
        picture(n).save(folder / f"{n}.jpg")
    codes = dry(report(str(tmp_path / "photos")))
    assert codes
    assert not any(codes)


def test_the_repair_comes_first(tmp_path: Path, cache: None, capsys: pytest.CaptureFixture[str]) -> None:
    table = food(tmp_path / "food", local=lambda n: "" if n % 5 == 0 else f"one of the names of food {n}")
    assert main(["data", "describe", str(table), "--columns", "text=Local names"]) == 0
    said = capsys.readouterr().out
    assert said.index("first: 8 of 40 examples cannot be used") < said.index("$ counterpoint compare")
    assert f"--data '{table},columns=text:Local names' --broken 0.2 --seeds 5" in said
    (path,) = re.findall(r"all of them: (\S+)\n", said)
    assert Path(path).is_file()  # on one line, so that it can be copied


@pytest.mark.parametrize(("name", "advised"), [("P{:03d}", False), ("red bean {}", True)])
def test_captions_from_names_advised_where_names_say_something(
    name: str, advised: bool, tmp_path: Path, cache: None
) -> None:
    words = ("bean", "root", "leaf")
    (tmp_path / "photos").mkdir()
    for n in range(12):
        picture(n).save(tmp_path / "photos" / f"{name.format(n)}{words[n % 3] * advised}.jpg")
    commands = [command for command, _ in report(str(tmp_path / "photos")).commands]
    assert any("--captions path" in command for command in commands) == advised


def test_one_frame_is_written_in_the_singular() -> None:
    column = ColumnOverview("video", (), rows=2, lacking=0, lengths=np.array([1.0, 1.0]), rates={})
    assert _lengths(column) == ["1 frame"]
    assert _lengths(replace(column, lengths=np.array([1.0, 4.0]))) == ["1 to 4 frames"]
