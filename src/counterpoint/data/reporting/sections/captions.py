"""Captions: languages, lengths, what a recipe cuts off, and what looks like no caption."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, final

import numpy as np
import polars as pl

from ....networks.towers.tokenizer import BytePairTokenizer
from ...listed.division import normalised
from .._section import Finding, Findings, ReportSection, percent
from .._seen import DataOverview

_MOST = 2_000  # captions whose language is guessed
_SURE = 0.5  # the share of certainty above which a guess counts
_COMMON = 0.01  # the share from which a language is named
_JOINED = 40  # captions that are too short are guessed so many at a time
_SEED = 0
_MOST_TOKENIZED = 20_000
_TOWERS = ("transformer", "reader", "bag")  # whose tokenizer is learned from the captions

NO_CAPTIONS: dict[str, str] = {
    "like names of files": r"(?i)^\S+\.(jpe?g|png|gif|webp|tiff?|bmp|svg|heic)$|^(img|dscn?|image|photo)[-_ ]?\d+$",
    "with markup": r"<[a-zA-Z/][^>]*>|&[a-zA-Z]+;|&#\d+;",
    "with addresses": r"(?i)\bhttps?://|\bwww\.\S+\.\S",
    "like lines of translations": r"^[a-z]{2,3}([_@-]\w+)*(\.utf8)?=",
}
"""Patterns of texts that are rarely captions."""


@final
class Captions(ReportSection):
    """The languages and the lengths, and texts that look like no captions."""

    order: ClassVar[int] = 20
    title: ClassVar[str] = "captions"

    def findings(self, seen: DataOverview) -> list[Finding]:
        frame = seen.captions
        if not len(frame):
            return []
        findings, texts = Findings(seen), frame["text"]
        per_row = len(frame) / len(seen)
        line = f"{len(frame):,}" + ("" if per_row == 1 else f", {per_row:.3g} an example")
        findings.add("captions", line, {"count": len(frame), "an example": per_row})
        words = texts.str.count_matches(r"\S+").to_numpy()
        findings.add(
            "words",
            f"{np.median(words):.0f} in the middle, {words.min()} to {words.max():,}",
            {"least": int(words.min()), "median": float(np.median(words)), "most": int(words.max())},
        )
        languages, unclear, together = _languages(texts)
        looked = sum(languages.values()) + unclear
        common = {name: n for name, n in languages.items() if n >= _COMMON * looked}
        line = ", ".join(f"{name} {percent(n / looked)} %" for name, n in common.items())
        if others := sum(languages.values()) - sum(common.values()):
            line = ", ".join(filter(None, [line, f"others {percent(others / looked)} %"]))
        if unclear:
            alone = f"{percent(unclear / looked)} % too short to tell"
            line = ", ".join(filter(None, [line, alone + (f", together {together}" if together else "")]))
        findings.add(
            "languages (guessed)", line, {**languages, "unclear": unclear, "unclear, together": together}
        )
        _cut_off(findings, seen, texts)
        for name, pattern in NO_CAPTIONS.items():
            self._count(findings, name, frame.filter(texts.str.contains(pattern)), len(frame), 0.01)
        self._count(findings, "of one word", frame.filter(words == 1), len(frame), 0.5)
        alike = normalised(texts)
        repeated = frame.filter(alike.is_duplicated())
        findings.count(
            "repeated, case and spaces aside",
            len(repeated),
            len(frame),
            [f"{text!r} {n} times" for text, n in _most_common(alike)],
            above=0.5,
        )
        return findings.listed

    def _count(self, findings: Findings, name: str, some: pl.DataFrame, of: int, above: float) -> None:
        examples = [
            f"{findings.seen.keys[row]}: {_short(text)}"
            for row, text in some.head(3).select("row", "text").iter_rows()
        ]
        findings.count(name, len(some), of, examples, above=above)


def _cut_off(findings: Findings, seen: DataOverview, texts: pl.Series) -> None:
    """Tell how many captions are longer than the recipe's context."""
    towers = seen.towers
    if towers.text not in _TOWERS:
        return
    sampled = len(texts) > _MOST_TOKENIZED
    chosen = texts.sample(_MOST_TOKENIZED, seed=_SEED) if sampled else texts
    tokenizer = BytePairTokenizer.train(chosen.to_list(), towers.vocabulary, towers.context)
    long = chosen.filter(pl.Series(tokenizer.too_long(chosen.to_list()).numpy()))
    findings.count(
        f"cut off by the recipe's context of {towers.context} tokens (towers.context)",
        len(long),
        len(chosen),
        [_short(text) for text in long.head(3)],
        above=0.05,
        sampled=sampled,
    )


def _languages(texts: pl.Series) -> tuple[dict[str, int], int, str]:
    """Guess languages: of clear captions by themselves, of the others together, as a word or two tell too little."""
    if len(texts) > _MOST:
        texts = texts.sample(_MOST, seed=_SEED)
    identifier, counts, unclear = _identifier(), dict[str, int](), []
    for text in texts:
        language, certainty = identifier.classify(text)
        if certainty >= _SURE:
            counts[language] = counts.get(language, 0) + 1
        else:
            unclear.append(text)
    parts = [" ".join(unclear[k : k + _JOINED]) for k in range(0, len(unclear), _JOINED)]
    guesses = [language for language, certainty in map(identifier.classify, parts) if certainty >= _SURE]
    together = max(sorted(set(guesses)), key=guesses.count) if guesses else ""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))), len(unclear), together


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # here, as its model takes a second to load

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _most_common(texts: pl.Series) -> list[tuple[str, int]]:
    counts = texts.value_counts(sort=True).filter(pl.col("count") > 1).head(3)
    return [(_short(text), count) for text, count in counts.iter_rows()]


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
