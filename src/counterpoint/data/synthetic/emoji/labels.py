"""The ways to classify emoji: group, subgroup, skin tone and gender, with class names that read as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...labels import Classes
from .table import TONES

TEMPLATES = (
    "{}",
    "an emoji of {}",
    "a small picture of {}",
    "a pictogram of {}",
    "a drawing of {}",
    "an icon that shows {}",
)

GROUPS = {
    "Smileys & Emotion": "smileys and emotion",
    "People & Body": "people and body parts",
    "Animals & Nature": "animals and nature",
    "Food & Drink": "food and drink",
    "Travel & Places": "travel and places",
    "Activities": "activities",
    "Objects": "objects",
    "Symbols": "symbols",
    "Flags": "flags",
}

# Unicode's subgroup names are keys for machines; where they do not read as words, this is what they hold.
_SUBGROUPS = {
    "alphanum": "letters and numbers",
    "animal-amphibian": "an amphibian",
    "animal-bird": "a bird",
    "animal-bug": "a bug",
    "animal-mammal": "a mammal",
    "animal-marine": "a sea animal",
    "animal-reptile": "a reptile",
    "arrow": "an arrow",
    "arts & crafts": "arts and crafts",
    "av-symbol": "a media player symbol",
    "award-medal": "an award or medal",
    "body-parts": "a body part",
    "book-paper": "a book or paper",
    "cat-face": "a cat face",
    "clothing": "clothing",
    "computer": "a computer",
    "country-flag": "a country flag",
    "currency": "a currency sign",
    "dishware": "dishware",
    "drink": "a drink",
    "emotion": "a sign of emotion",
    "event": "an event",
    "face-affection": "an affectionate face",
    "face-concerned": "a concerned face",
    "face-costume": "a costume face",
    "face-glasses": "a face with glasses",
    "face-hand": "a face with a hand",
    "face-hat": "a face with a hat",
    "face-negative": "an angry face",
    "face-neutral-skeptical": "a neutral or skeptical face",
    "face-sleepy": "a sleepy face",
    "face-smiling": "a smiling face",
    "face-tongue": "a face with its tongue out",
    "face-unwell": "an unwell face",
    "family": "a couple or family",
    "flag": "a signal flag",
    "food-asian": "Asian food",
    "food-fruit": "a fruit",
    "food-prepared": "prepared food",
    "food-sweet": "a sweet",
    "food-vegetable": "a vegetable",
    "game": "a game",
    "gender": "a gender sign",
    "geometric": "a geometric shape",
    "hand-fingers-closed": "a hand with closed fingers",
    "hand-fingers-open": "a hand with open fingers",
    "hand-fingers-partial": "a hand with some fingers out",
    "hand-prop": "a hand with a thing",
    "hand-single-finger": "a pointing finger",
    "hands": "two hands",
    "heart": "a heart",
    "hotel": "hotel things",
    "household": "household things",
    "keycap": "a keycap",
    "light & video": "light and video",
    "lock": "a lock or key",
    "mail": "mail",
    "math": "a mathematical sign",
    "medical": "medical things",
    "money": "money",
    "monkey-face": "a monkey face",
    "music": "music",
    "musical-instrument": "a musical instrument",
    "office": "office things",
    "other-object": "another object",
    "other-symbol": "another symbol",
    "person": "a person",
    "person-activity": "a person doing something",
    "person-fantasy": "a fantasy person",
    "person-gesture": "a person making a gesture",
    "person-resting": "a person resting",
    "person-role": "a person at work or in a role",
    "person-sport": "a person doing sport",
    "person-symbol": "a symbol of a person",
    "phone": "a phone",
    "place-building": "a building",
    "place-geographic": "a landscape",
    "place-map": "a map",
    "place-other": "another place",
    "place-religious": "a religious building",
    "plant-flower": "a flower",
    "plant-other": "a plant",
    "punctuation": "a punctuation mark",
    "religion": "a religious symbol",
    "science": "a science instrument",
    "sky & weather": "sky and weather",
    "sound": "a sound device",
    "sport": "sport",
    "subdivision-flag": "the flag of a part of a country",
    "time": "a clock",
    "tool": "a tool",
    "transport-air": "air transport",
    "transport-ground": "ground transport",
    "transport-sign": "a transport sign",
    "transport-water": "water transport",
    "warning": "a warning sign",
    "writing": "writing things",
    "zodiac": "a zodiac sign",
}

_PEOPLE = ("{}", "an emoji of a {}", "a small picture of a {}", "a drawing of a {}", "a pictogram of a {}")
_SKIN = (
    "{}",
    "an emoji with {}",
    "a person with {}",
    "a hand with {}",
    "a drawing of people with {}",
    "a small picture, {}",
)


def label_sets(columns: Mapping[str, Sequence[Any]], copies: int) -> dict[str, Classes]:
    """Return the label sets of every row, the table repeated ``copies`` times.

    ``name`` is a class for every emoji: rows of one name are one emoji by several artists.

    Every emoji has a group and a subgroup. ``tone`` leaves out emoji without a skin tone and those with two;
    ``gender`` leaves out all but ``woman`` and ``man``: many people of no stated gender are drawn exactly
    like one of the two.
    """

    def labels(column: str, names: Mapping[str, str], templates: tuple[str, ...]) -> Classes:
        index = {value: number for number, value in enumerate(names)}
        values = np.array([index.get(value, -1) for value in columns[column]])
        return Classes(tuple(names.values()), np.tile(values, copies), templates)

    return {
        "group": labels("group", GROUPS, TEMPLATES),
        "subgroup": labels("subgroup", _SUBGROUPS, TEMPLATES),
        "tone": labels("tone", {tone: f"{tone} skin tone" for tone in TONES}, _SKIN),
        "gender": labels("gender", {"woman": "woman", "man": "man"}, _PEOPLE),
        "name": labels("name", {name: name.lower() for name in columns["name"]}, ()),
    }
