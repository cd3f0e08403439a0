"""Font Awesome's icons as data to train on, from the package fontawesomefree: ``python scripts/font_awesome.py OUT``.

OUT gets the drawings, a folder a style, and ``metadata.jsonl`` with a row for each: its label and its search terms are
captions, ``category`` is the first of its categories, and the styles of one icon are of one ``group``, which no split
parts. Then: ``counterpoint data describe OUT``, ``counterpoint train clip --data OUT``.

Icons: Font Awesome Free by Fonticons, CC BY 4.0.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

from counterpoint.files import write_text


def prepare(out: Path) -> int:
    """Write the icons to a folder, and return how many there are.

    Raises:
        ModuleNotFoundError: if the package is not installed.
    """
    spec = find_spec("fontawesomefree")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("fontawesomefree is not installed; run: pip install fontawesomefree")
    root = Path(spec.submodule_search_locations[0]) / "static" / "fontawesomefree"
    icons = json.loads((root / "metadata" / "icons.json").read_text(encoding="utf-8"))
    categories = yaml.safe_load((root / "metadata" / "categories.yml").read_text(encoding="utf-8"))
    category = {name: key for key, each in reversed(categories.items()) for name in each["icons"]}
    rows = []
    for name, icon in icons.items():
        for style in icon["free"]:
            file = Path(style) / f"{name}.svg"
            (out / style).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / "svgs" / file, out / file)
            texts = list(dict.fromkeys([icon["label"], *map(str, icon["search"]["terms"])]))
            facts = {
                "category": category.get(name),
                "style": style,
                "group": name,
                "id": file.with_suffix("").as_posix(),
            }
            rows.append({"file_name": file.as_posix(), "text": texts, **facts})
    write_text(out / "metadata.jsonl", "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which folder? For example: python scripts/font_awesome.py icons")
    print(f"{sys.argv[1]}: {prepare(Path(sys.argv[1])):,} icons")
