"""PMT2I: a description together with its translations, as the prompt of a model that makes pictures.

Nothing but the prompt changes, so the model must read several languages, and at that length: a text encoder of 77
tokens would read little more than the first lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..registry import unknown

PAPERS = {"pmt2i": ("in_languages", "variants")}

LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "zh": "Chinese",
    "ru": "Russian",
    "it": "Italian",
}
"""The paper's languages, as the prompt names them."""

SETS: tuple[tuple[str, ...], ...] = (
    ("de",),
    ("ru", "fr"),
    ("fr", "de", "es"),
    ("de", "fr", "es", "zh"),
    ("es", "ru", "fr", "zh", "de"),
    ("es", "ru", "it", "zh", "fr", "de"),
)
"""The paper's sets of one to six translations, in the order of their lines. Which is best depends on the model and on
what is described: choose it on other descriptions than those you report."""


def in_languages(english: str, translations: Mapping[str, str], languages: Sequence[str] = SETS[-1]) -> str:
    """Return the prompt of some languages: a line for English, and one for each translation.

    Args:
        english: the description.
        translations: of it, by language code; those that are not asked for are not used. A wrong one hurts more
            than one that is missing.
        languages: codes of `LANGUAGES`, in the order of their lines; with none the prompt is the plain description,
            the baseline.

    Raises:
        UnknownNameError: for a language that `LANGUAGES` does not name.
        ValueError: for a language without translation, named twice, or English; for a text that is empty or of more
            than one line.

    Source: Mu et al., "Boosting Text-To-Image Generation via Multilingual Prompting in Large Multimodal Models"
    (2025), arXiv 2501.07086.

    >>> print(in_languages("a red cat", {"fr": "un chat rouge", "de": "eine rote Katze"}, ["de", "fr"]))
    English: a red cat
    German: eine rote Katze
    French: un chat rouge
    """
    for code in languages:
        if code not in LANGUAGES:
            raise unknown("language", code, LANGUAGES)
    if len({"en", *languages}) <= len(languages):
        raise ValueError(
            f"languages={list(languages)}: English stands first by itself; name no language twice"
        )
    missing = [code for code in languages if code not in translations]
    if missing:
        raise ValueError(f"no translation into {', '.join(missing)}: give it, or ask for other languages")
    texts = {"en": english, **{code: translations[code] for code in languages}}
    for code, text in texts.items():
        if not text.strip() or len(text.splitlines()) > 1:
            raise ValueError(f"the {LANGUAGES[code]} text must be one line that is not empty, got {text!r}")
    if not languages:
        return english
    return "\n".join(f"{LANGUAGES[code]}: {text}" for code, text in texts.items())


def repeated(english: str, translations: int) -> str:
    """Return the control for length: as many lines as of translations, all of them the English one.

    >>> print(repeated("a red cat", 1))
    English: a red cat
    English: a red cat
    """
    return "\n".join([f"{LANGUAGES['en']}: {english}"] * (translations + 1))


def variants(
    english: str, translations: Mapping[str, str], sets: Sequence[Sequence[str]] = SETS
) -> tuple[str, ...]:
    """Return one prompt a set of languages with all translations there; the candidates to choose among.

    Args:
        english, translations: as for `in_languages`.
        sets: of language codes; the plain description comes first whatever they are.

    >>> len(variants("a red cat", {"fr": "un chat rouge", "de": "eine rote Katze"}))
    2

    Raises:
        UnknownNameError, ValueError: as `in_languages`.
    """
    whole = [languages for languages in sets if set(languages) <= set(translations)]
    return tuple(in_languages(english, translations, languages) for languages in ((), *whole))
