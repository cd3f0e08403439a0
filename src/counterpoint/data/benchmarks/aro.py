"""ARO: relations and attributes of Visual Genome beside their exchange."""

from __future__ import annotations

from pathlib import Path

from ._base import ChoicesBenchmark, fields, folder_of_pictures, read_json
from ._pictures import PictureFiles


def read(path: Path, size: int) -> ChoicesBenchmark:
    """Read ARO's Visual Genome parts: ``visual_genome_relation.json``, ``visual_genome_attribution.json`` or both.

    The files lie in PATH. Each is a list of objects with ``image_path`` (in PATH's folder ``images``), ``bbox_x``,
    ``bbox_y``, ``bbox_w``, ``bbox_h`` (the part of the picture that is shown), ``true_caption``, ``false_caption``, and
    ``relation_name`` or the two ``attributes``, which become the kind: ``"relation: behind"``, ``"attribution: white
    red"``. The captions of its order parts are not published but made by a program; they are not read.

    Source: Yüksekgönül et al. (2023), arXiv 2210.01936.
    """
    known = {"relation": "relation_name", "attribution": "attributes"}
    files = {family: path / f"visual_genome_{family}.json" for family in known}
    files = {family: file for family, file in files.items() if file.is_file()}
    if not files:
        raise FileNotFoundError(
            f"aro: neither visual_genome_relation.json nor visual_genome_attribution.json in {path}"
        )
    folder = folder_of_pictures(path, ("images",), "aro")
    box = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    paths, crops, options, kinds = [], [], [], []
    for family, file in files.items():
        for k, entry in enumerate(read_json(file)):
            name, right, wrong, about, x, y, w, h = fields(
                entry,
                ("image_path", "true_caption", "false_caption", known[family], *box),
                f"{file}, item {k}",
            )
            paths.append(folder / name)
            crops.append((x, y, x + w, y + h))
            options.append((right, wrong))
            kinds.append(f"{family}: {about if isinstance(about, str) else ' '.join(about)}")
    pictures = PictureFiles(paths, crops)
    return ChoicesBenchmark(f"aro:{path}", pictures, options, [0] * len(options), kinds, size)
