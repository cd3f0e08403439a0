"""Licences of models: those that the hub knows, and those that the attribution of the data rules out."""

from __future__ import annotations

import re

from ..registry import unknown

_NAMES = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd
    bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0
    creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl
    lgpl-2.1 lgpl-3.0 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail openrail++ osl-3.0 pddl postgresql
    unlicense wtfpl zlib other
"""
LICENCES = tuple(_NAMES.split())
"""Identifiers of licences that the Hugging Face hub takes, but for those of one company's models alone.

Source: Hugging Face's documentation of repositories, "Licenses".
"""

_TERMS = (
    (
        r"non-?\s?commercial|\bCC[ -]BY-NC",
        "allows no commercial use",
        r"cc-by-nc.*|bigscience-.*|cc",
    ),
    (r"\bCC[ -]BY(-NC)?-ND|no ?deriv", "allows no derivatives", r"(?!)"),
    (r"\bCC[ -]BY-NC-SA", "is to be shared alike", r"cc-by-nc-sa.*"),
    (r"\bCC[ -]BY-SA", "is to be shared alike", r"cc-by-sa.*|gpl-3\.0|agpl-3\.0"),
    (r"(?<![AL])GPL(-2|v2)", "is under the GPL", r"gpl(-2\.0|-3\.0)?|agpl-3\.0"),
    (r"(?<![AL])GPL(-3|v3)", "is under the GPL", r"a?gpl-3\.0"),
)
"""Terms as an attribution names them, in words, and the licences that keep to them."""


def check(licence: str, attribution: str) -> None:
    """Check that a licence is one, and that the attribution of the data does not contradict it.

    ``other`` says that the card's reader is told the terms elsewhere, and is never contradicted.

    Args:
        licence: of the model, by the hub's identifier.
        attribution: the line of the data on whose it is and under which licence; empty where there is none.

    Raises:
        UnknownNameError: for a licence that the hub does not know; the message gives the nearest one.
        ValueError: for one that allows what the attribution rules out.

    >>> check("apache-2.0", "Photographs: Ada, CC BY 4.0")
    >>> check("mit", "Ada, CC BY-NC 4.0")
    Traceback (most recent call last):
    ...
    ValueError: the licence mit contradicts the data, which allows no commercial use ("Ada, CC BY-NC 4.0"): choose one \
that keeps to it, or other
    """
    if licence not in LICENCES:
        raise unknown("licence", licence, LICENCES)
    if licence == "other":
        return
    for named, terms, kept in _TERMS:
        if re.search(named, attribution, re.IGNORECASE) and not re.fullmatch(kept, licence):
            raise ValueError(
                f'the licence {licence} contradicts the data, which {terms} ("{attribution}"): choose one that keeps '
                "to it, or other"
            )
