from __future__ import annotations

import gzip
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoint.data.pictures.rendering import ARTISTS, picture_key
from counterpoint.data.synthetic.emoji.table import TONES, load, without_tone
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.registry import UnknownNameError


@pytest.fixture(scope="module")
def emoji() -> Emoji:
    return Emoji()


@pytest.fixture(scope="module")
def by_name(emoji: Emoji) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in emoji.table}


def test_the_table_is_small_and_whole() -> None:
    raw = (files("counterpoint.data") / "files" / "emoji_groups.tsv.gz").read_bytes()
    assert len(raw) < 50_000
    assert gzip.decompress(raw).decode().startswith("# Names and groups from emoji-test.txt 17.0")


def test_every_emoji_is_in_both_sets_once_fe0f_is_dropped(emoji: Emoji) -> None:
    wanted = {picture_key(codepoints) for codepoints in emoji.table["codepoints"]}
    assert len(wanted) == len(emoji.table) == 3944
    for artist in ARTISTS:
        assert wanted <= {picture_key(Path(file.name).stem) for file in artist.folder().iterdir()}


def test_ids_are_rows_and_names_are_unique(emoji: Emoji) -> None:
    assert emoji.table["id"][:] == list(range(3944))
    assert len({name.lower() for name in emoji.table["name"]}) == 3944
    assert len(set(emoji.table["emoji"])) == 3944


def test_groups(emoji: Emoji) -> None:
    assert Counter(emoji.table["group"]) == {
        "People & Body": 2418,
        "Flags": 270,
        "Objects": 266,
        "Symbols": 224,
        "Travel & Places": 219,
        "Smileys & Emotion": 171,
        "Animals & Nature": 160,
        "Food & Drink": 131,
        "Activities": 85,
    }
    assert len(set(emoji.table["subgroup"])) == 98


def test_tones_follow_the_code_points_and_the_names(emoji: Emoji) -> None:
    words = {f"{tone} skin tone" for tone in TONES}
    for row in emoji.table:
        said = [part for part in row["name"].replace(": ", ", ").split(", ") if part in words]
        assert row["tone"] == (", ".join(part.removesuffix(" skin tone") for part in said) or "none")
        assert row["is_tone_variant"] == bool(said)
        assert not row["is_tone_variant"] or row["group"] == "People & Body"
    assert sum(emoji.table["is_tone_variant"]) == 2030


@pytest.mark.parametrize(
    ("name", "concept", "tone", "gender", "hair", "age"),
    [
        ("grinning face", "grinning face", "none", "none", "none", "none"),
        ("woman farmer: medium skin tone", "farmer", "medium", "woman", "none", "adult"),
        ("farmer", "farmer", "none", "neutral", "none", "none"),
        ("man: light skin tone, red hair", "person", "light", "man", "red hair", "adult"),
        ("person: blond hair", "person", "none", "neutral", "blond hair", "none"),
        ("woman: bald", "person", "none", "woman", "bald", "adult"),
        ("woman: beard", "person: beard", "none", "woman", "none", "adult"),
        ("girl: dark skin tone", "child", "dark", "woman", "none", "child"),
        ("old man", "older person", "none", "man", "none", "older"),
        ("baby angel", "baby angel", "none", "neutral", "none", "baby"),
        ("woman feeding baby", "person feeding baby", "none", "woman", "none", "adult"),
        ("Mrs. Claus", "Mx Claus", "none", "woman", "none", "none"),
        ("prince", "person with crown", "none", "man", "none", "none"),
        ("mermaid", "merperson", "none", "woman", "none", "none"),
        ("man dancing", "person dancing", "none", "man", "none", "adult"),
        ("pregnant man", "pregnant person", "none", "man", "none", "adult"),
        ("man walking facing right", "person walking facing right", "none", "man", "none", "adult"),
        ("thumbs up: dark skin tone", "thumbs up", "dark", "none", "none", "none"),
        ("woman and man holding hands: dark skin tone",
         "people holding hands", "dark", "mixed", "none", "adult"),
        ("handshake: dark skin tone, light skin tone", "handshake", "dark, light", "none", "none", "none"),
        ("kiss: man, man, dark skin tone", "kiss", "dark", "man", "none", "adult"),
        ("kiss: person, person, dark skin tone, light skin tone",
         "kiss", "dark, light", "neutral", "none", "none"),
        ("women wrestling: light skin tone, dark skin tone",
         "people wrestling", "light, dark", "woman", "none", "adult"),
        ("family: man, woman, girl, boy", "family", "none", "mixed", "none", "mixed"),
        ("men’s room", "men’s room", "none", "none", "none", "none"),
        ("flag: Norway", "flag: Norway", "none", "none", "none", "none"),
    ],
)  # fmt: skip
def test_attributes(
    by_name: dict[str, dict[str, object]],
    name: str,
    concept: str,
    tone: str,
    gender: str,
    hair: str,
    age: str,
) -> None:
    row = by_name[name]
    expected = {"concept": concept, "tone": tone, "gender": gender, "hair": hair, "age": age}
    assert {column: row[column] for column in expected} == expected


def test_a_concept_is_shared_by_all_its_variants(emoji: Emoji) -> None:
    tones = {}
    for row in emoji.table:
        if row["hair"] == "none" and row["concept"] not in ("person", "family"):
            tones.setdefault((row["concept"], row["gender"]), []).append(row["tone"])
    assert all(
        len(set(each)) == len(each) for each in tones.values()
    )  # nothing but tone and gender tells them apart
    assert {len(each) for each in tones.values()} == {1, 6, 26}
    assert len(set(emoji.table["concept"])) == 1696


def test_without_tone_leaves_other_colons_alone() -> None:
    assert without_tone("keycap: *") == "keycap: *"
    assert without_tone("flag: Côte d’Ivoire") == "flag: Côte d’Ivoire"
    assert without_tone("kiss: man, man, dark skin tone, light skin tone") == "kiss: man, man"


def test_names_in_fourteen_languages() -> None:
    languages = tuple(load().features["names"])
    assert languages == ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
    assert all(all(names.values()) for names in load()["names"])


def test_captions(emoji: Emoji, by_name: dict[str, dict[str, object]]) -> None:
    def captions(name: str, *languages: str) -> list[str]:
        return Emoji(languages=languages).captions(by_name[name]["id"])  # type: ignore[arg-type]

    assert captions("woman farmer: medium skin tone", "en") == ["woman farmer: medium skin tone"]
    assert captions("automobile", "en") == ["automobile", "car", "red car"]
    assert captions("thumbs up", "en") == ["thumbs up"]  # not "+1", "thumbsup"
    assert captions("flag: France", "de", "en") == ["flagge frankreich", "flag: france", "flag for france"]
    for row in range(0, 3944, 7):
        for caption in emoji.captions(row):
            assert caption == caption.lower().strip()
            assert "_" not in caption
    assert emoji.evaluation_captions(0) == ["grinning face"]


def test_labels(emoji: Emoji) -> None:
    said = {name: each for name, each in emoji.classes.items() if name != "name"}
    counts = {name: (len(each.names), int((each.values >= 0).sum())) for name, each in said.items()}
    assert counts == {"group": (9, 3944), "subgroup": (98, 3944), "tone": (5, 1650), "gender": (2, 1286)}
    for each in said.values():
        assert set(each.values) - {-1} == set(range(len(each.names)))
        assert 5 <= len(each.templates) <= 7
        assert all(template.count("{}") == 1 for template in each.templates)
    tone = emoji.labels["tone"]
    for row in (932, 0):
        value = emoji.table[row]["tone"]
        assert (tone.names[tone.values[row]] if value != "none" else tone.values[row]) == (
            f"{value} skin tone" if value != "none" else -1
        )


def test_names_are_classes_of_a_row_for_each_artist(emoji: Emoji) -> None:
    name, both = emoji.classes["name"], Emoji("both")
    assert (len(name.names), name.templates) == (3944, ())  # no task asks about it unless it is named
    assert name.names[name.values[932]] == "woman farmer: medium skin tone"
    assert (both.name, len(both)) == ("emoji:both", 7888)
    assert (both.classes["name"].values == np.tile(name.values, 2)).all()
    for side, rows in both.splits.sides.items():
        assert (rows == np.concatenate([emoji.splits.sides[side], 3944 + emoji.splits.sides[side]])).all()
    assert not {*both.splits.train % 3944} & {*both.splits.test["concepts"] % 3944}


def test_rows_of_both_splits(emoji: Emoji) -> None:
    artist = Emoji("artist")
    assert (len(emoji), len(artist)) == (3944, 7888)
    assert (emoji.name, artist.name) == ("emoji", "emoji:artist")
    rows = np.array([5, 3944 + 5, 7887, 0])
    pictures = artist.images(rows)
    assert pictures.shape == (4, 3, 72, 72)
    assert (pictures[[0, 3]] == emoji.images(np.array([5, 0]))).all()
    assert (pictures[[1, 2]] == emoji.shifts()["artist"](np.array([5, 3943]))).all()
    assert not (pictures[0] == pictures[1]).all()
    assert artist.shifts() == {}
    assert artist.captions(3944 + 5) == emoji.captions(5)
    assert (artist.subsets[3944:] == emoji.subsets).all()
    assert (artist.labels["group"].values[3944:] == emoji.labels["group"].values).all()
    assert set(emoji.subsets) == {"tone variants", "rest"}


def test_bad_arguments() -> None:
    with pytest.raises(UnknownNameError, match="unknown emoji split 'artits': did you mean 'artist'"):
        Emoji("artits")
    with pytest.raises(UnknownNameError, match="unknown language 'xx'"):
        Emoji(languages=("xx",))
    with pytest.raises(ValueError, match="languages is empty"):
        Emoji(languages=())


def test_old_names_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import emoji as package

    from counterpoint.data.synthetic.emoji import table

    lacking = {key: names for key, names in package.EMOJI_DATA.items() if key != "😀"}
    monkeypatch.setattr(package, "EMOJI_DATA", lacking)
    with pytest.raises(LookupError, match=r"lacks the names of 1 emoji .*pip install --upgrade emoji"):
        table._translations(["😀", "😃"])


def test_attribution_names_both_artists_and_licences(emoji: Emoji) -> None:
    for part in ("Twemoji", "Twitter, Inc", "CC-BY 4.0", "OpenMoji", "CC BY-SA 4.0", "licenses/by-sa/4.0"):
        assert part in emoji.attribution


def test_describe_counts_what_is_there(emoji: Emoji) -> None:
    said = emoji.describe()
    assert said["splits"] == {"train": 2324} | {
        f"{side}: {name}": len(rows)
        for side, sets in (("validation", emoji.splits.validation), ("test", emoji.splits.test))
        for name, rows in sets.items()
    }
    assert sum(said["splits"].values()) == 3944
    assert sum(said["groups"].values()) == 3944
    assert said["attributes"]["tone: medium"] == 330
    assert said["attributes"]["tone: two different"] == 380
    assert set(said["attribution"]) == {"Twemoji", "OpenMoji"}


@pytest.mark.parametrize("split", ["default", "artist"])
def test_show_draws_a_sheet(split: str, tmp_path: Path) -> None:
    path = Emoji(split).show(tmp_path / "sheet.png")
    image = Image.open(path)
    assert image.width > 1500
    assert 1500 < image.height < 4000
    assert len(image.convert("RGB").getcolors(10**7) or ()) > 1000
