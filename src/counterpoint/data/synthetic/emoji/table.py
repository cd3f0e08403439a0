"""The emoji as one typed table: names, Unicode's groups, and what the names say about people.

Everything follows from ``files/emoji_groups.tsv.gz`` (written by ``scripts/make_emoji_groups.py`` from
Unicode's ``emoji-test.txt``) and the names in the ``emoji`` package.

The columns, beyond the obvious ones:

``tone``
    ``"none"``, one of :data:`TONES`, or, for two people of different tones, both as the name gives them
    (``"light, dark"``). Two people of one tone have that one tone.
``gender``
    ``"woman"``, ``"man"``, ``"mixed"`` (both), ``"neutral"`` (people whose gender the name does not say),
    ``"none"`` (not people, or only a part of the body).
``hair``, ``age``
    what the name says, ``"none"`` where it says nothing; people of several ages are ``"mixed"``.
``concept``
    the name without tone, gender and hair, which all variants share (``"farmer"``, ``"person walking"``,
    ``"family"``).
``near``, ``same``
    row of the first emoji in the same component of nearly the same, and of the same, pictures
    (:mod:`counterpoint.data.synthetic.emoji.splits` says how that is measured).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
HAIR = ("red hair", "curly hair", "white hair", "bald", "blond hair", "none")

_MODIFIER = {0x1F3FB + number: tone for number, tone in enumerate(TONES)}
_JOINER, _SELECTOR, _PERSON = 0x200D, 0xFE0F, 0x1F9D1
_HAIR_COMPONENTS = range(0x1F9B0, 0x1F9B4)
_GENDER_SIGNS = (0x2640, 0x2642)

_WOMAN = {"woman", "women", "girl", "princess", "mrs.", "mermaid"}
_MAN = {"man", "men", "boy", "prince", "santa", "merman"}
_AGE_WORDS = {
    "baby": "baby",
    "child": "child",
    "boy": "child",
    "girl": "child",
    "adult": "adult",
    "man": "adult",
    "woman": "adult",
    "men": "adult",
    "women": "adult",
}

# Emoji that mean one thing for different people but that Unicode does not build from one another.
_COUNTERPART = {
    (0x1F468,): (_PERSON,),  # man, woman: person
    (0x1F469,): (_PERSON,),
    (0x1F471,): (_PERSON,),  # blond hair
    (0x1F466,): (0x1F9D2,),  # boy, girl: child
    (0x1F467,): (0x1F9D2,),
    (0x1F474,): (0x1F9D3,),  # old man, old woman: older person
    (0x1F475,): (0x1F9D3,),
    (0x1F934,): (0x1FAC5,),  # prince, princess: person with crown
    (0x1F478,): (0x1FAC5,),
    (0x1F385,): (_PERSON, 0x1F384),  # Santa Claus, Mrs. Claus: Mx Claus
    (0x1F936,): (_PERSON, 0x1F384),
    (0x1F57A,): (0x1F483,),  # man dancing, woman dancing
    (0x1F930,): (0x1FAC4,),  # pregnant woman, man: person
    (0x1FAC3,): (0x1FAC4,),
    (0x1F46B,): (_PERSON, 0x1F91D, _PERSON),  # holding hands
    (0x1F46C,): (_PERSON, 0x1F91D, _PERSON),
    (0x1F46D,): (_PERSON, 0x1F91D, _PERSON),
    (0x1FAF1, 0x1FAF2): (0x1F91D,),  # two hands of different tones: handshake
    (_PERSON, 0x2764, 0x1F48B, _PERSON): (0x1F48F,),  # kiss
    (_PERSON, 0x2764, _PERSON): (0x1F491,),  # couple with heart
    (_PERSON, 0x1F430, _PERSON): (0x1F46F,),  # people with bunny ears
    (_PERSON, 0x1FAEF, _PERSON): (0x1F93C,),  # people wrestling
}
_NO_NEUTRAL = {"woman dancing": "person dancing", "woman with headscarf": "person with headscarf"}


def without_tone(name: str) -> str:
    """Return a name without the skin tones after its colon.

    >>> without_tone("man: medium skin tone, red hair")
    'man: red hair'
    """
    head, _, details = name.partition(": ")
    kept = [detail for detail in details.split(", ") if detail and not detail.endswith("skin tone")]
    return f"{head}: {', '.join(kept)}" if kept else head


def _tone(points: Iterable[int]) -> str:
    tones = [_MODIFIER[point] for point in points if point in _MODIFIER]
    return ", ".join(tones[:1] if len(set(tones)) == 1 else tones) or "none"


def _skeleton(points: Iterable[int]) -> tuple[int, ...]:
    """Return code points without tone, gender, hair, joiners and selectors."""
    dropped = {_JOINER, _SELECTOR, *_MODIFIER, *_HAIR_COMPONENTS}
    kept = tuple(point for point in points if point not in dropped)
    if len(kept) > 1:
        kept = tuple(point for point in kept if point not in _GENDER_SIGNS)
        if len(kept) > 1:
            kept = tuple(_PERSON if point in (0x1F468, 0x1F469) else point for point in kept)
    return _COUNTERPART.get(kept, kept)


def _people(group: str, subgroup: str, name: str) -> bool:
    if group != "People & Body":
        return False
    if subgroup == "person-symbol":
        return name.startswith(("people", "family"))
    return subgroup.startswith("person") or subgroup == "family"


def _gender(words: set[str]) -> str:
    named = (bool(words & _WOMAN), bool(words & _MAN))
    return {(True, True): "mixed", (True, False): "woman", (False, True): "man"}.get(named, "neutral")


def _age(words: set[str]) -> str:
    if words & {"old", "older"}:
        return "older"
    ages = {_AGE_WORDS[word] for word in words if word in _AGE_WORDS}
    return "mixed" if len(ages) > 1 else next(iter(ages), "none")


def _concepts(rows: Sequence[Mapping[str, Any]], skeletons: Sequence[tuple[int, ...]]) -> list[str]:
    """Return each row's concept: the plainest name among the emoji with its skeleton."""

    def plainness(row: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        return row["tone"] != "none", row["gender"] not in ("neutral", "none"), row["hair"] != "none"

    plainest: dict[tuple[int, ...], Mapping[str, Any]] = {}
    for row, skeleton in zip(rows, skeletons, strict=True):
        if skeleton not in plainest or plainness(row) < plainness(plainest[skeleton]):
            plainest[skeleton] = row
    names = (without_tone(plainest[skeleton]["name"]) for skeleton in skeletons)
    return ["family" if name.startswith("family") else _NO_NEUTRAL.get(name, name) for name in names]


def _translations(emoji: Sequence[str]) -> dict[str, list[str]]:
    """Return names in every language of the ``emoji`` package, in plain words."""
    import emoji as package

    package.config.load_language()
    data = package.EMOJI_DATA
    lacking = [
        each for each in emoji if any(language not in data.get(each, {}) for language in package.LANGUAGES)
    ]
    if lacking:
        raise LookupError(
            f"emoji {version('emoji')} lacks the names of {len(lacking)} emoji (first: {lacking[0]}); "
            f"run: pip install --upgrade emoji"
        )
    return {
        language: [data[each][language].strip(":").replace("_", " ") for each in emoji]
        for language in sorted(package.LANGUAGES)
    }


@cache
def load() -> Dataset:
    """Load the table, a row per fully-qualified emoji in Unicode's order; ``id`` is the row's number.

    Columns: ``id``, ``emoji``, ``codepoints``, ``name``, ``names`` (a struct, a field per language),
    ``group``, ``subgroup``, ``concept``, ``tone``, ``gender``, ``hair``, ``age``, ``is_tone_variant``,
    ``near``, ``same``.

    Raises:
        LookupError: the installed ``emoji`` package is too old to know all of them.

    >>> load()[932]["name"]
    'woman farmer: medium skin tone'
    """
    from datasets import Dataset, Features, Value

    text = gzip.decompress(
        (files("counterpoint.data") / "files" / "emoji_groups.tsv.gz").read_bytes()
    ).decode()
    cells = [line.split("\t") for line in text.splitlines()[1:]]
    rows: list[dict[str, Any]] = []
    skeletons = []
    for number, (codepoints, name, group, subgroup, near, same) in enumerate(cells):
        points = [int(point, 16) for point in codepoints.split()]
        base = without_tone(name).lower()
        words = set(re.findall(r"[a-z]+\.?", base.replace("feeding baby", "feeding")))
        people = _people(group, subgroup, base)
        skeletons.append(_skeleton(points))
        rows.append(
            {
                "id": number,
                "emoji": "".join(map(chr, points)),
                "codepoints": codepoints,
                "name": name,
                "group": group,
                "subgroup": subgroup,
                "tone": _tone(points),
                "gender": _gender(words) if people else "none",
                "hair": next((hair for hair in HAIR if people and hair in base), "none"),
                "age": _age(words) if people else "none",
                "is_tone_variant": any(point in _MODIFIER for point in points),
                "near": int(near),
                "same": int(same),
            }
        )
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    columns["concept"] = _concepts(rows, skeletons)
    names = _translations(columns["emoji"])
    columns["names"] = [dict(zip(names, each, strict=True)) for each in zip(*names.values(), strict=True)]
    features = Features(
        {
            "id": Value("int64"),
            "emoji": Value("string"),
            "codepoints": Value("string"),
            "name": Value("string"),
            "names": {language: Value("string") for language in names},
            "group": Value("string"),
            "subgroup": Value("string"),
            "concept": Value("string"),
            "tone": Value("string"),
            "gender": Value("string"),
            "hair": Value("string"),
            "age": Value("string"),
            "is_tone_variant": Value("bool"),
            "near": Value("int64"),
            "same": Value("int64"),
        }
    )
    return Dataset.from_dict({name: columns[name] for name in features}, features=features)
