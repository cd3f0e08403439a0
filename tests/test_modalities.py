"""Nothing but a modality's own entry decides by its name: what is registered elsewhere is served alike."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoint.modalities import MODALITIES, PAIR, Modality, resolve

SOURCE = Path(__file__).parents[1] / "src" / "counterpoint"
LOOKED_AT = (
    *(
        "data/views/look.py",
        "networks/base.py",
        "networks/towers/build.py",
    ),
    *("training/**/*.py", "methods/**/*.py"),
    *("data/*.py", "data/derived/*.py", "data/files/*.py", "data/listed/*.py", "data/loading/*.py"),
    *("data/reading/*.py", "data/reporting/**/*.py", "data/sharded/*.py", "data/sources/**/*.py"),
)
ABOUT_PICTURES_OR_WORDS = {
    "data/columns.py": "classes are named in words",
    "data/converting.py": "pictures can be made smaller; with captions alone they need no note of the columns",
    "data/embeddings.py": "pictures by name, for tasks about them",
    "data/listed/pairs.py": "pictures with captions",
    "data/listed/photos.py": "pictures",
    "data/listed/rows.py": "texts beside files are told of as captions",
    "data/listed/stored.py": "texts beside files are told of as captions",
    "data/pictured.py": "pictures with captions, the case with classes of its own",
    "data/reporting/_seen.py": "captions",
    "data/reporting/advice.py": "commands for pictures",
    "data/reporting/card.py": "the words of Hugging Face for modalities",
    "data/reporting/sections/captions.py": "captions",
    "data/sharded/pictured.py": "pictures with captions",
    "data/sharded/writing.py": "pictures alone need no note of the columns",
    "data/source.py": "the size of pictures, which is said before other inputs are known",
    "data/sources/_names.py": "usual names of columns",
    "data/sources/_values.py": "captions in JSON",
    "data/sources/coco.py": "pictures with captions",
    "data/sources/folder.py": "captions in files beside others",
    "data/sources/ljspeech.py": "speech with what is said",
    "data/sources/ptbxl.py": "electrocardiograms with reports",
    "data/sources/tables/_roles.py": "captions beside files",
    "data/sources/tables/_rows.py": "captions beside files",
    "data/sources/webdataset.py": "captions beside files",
    "data/derived/nouns.py": "nouns are of texts",
    "data/derived/missing.py": "shifts are other pictures of the same rows",
    "data/derived/voxels.py": "voxels are of pictures",
    "networks/base.py": "says what its own two towers are of",
    "networks/towers/build.py": "builds a tower of pictures for methods that have a second one",
    "methods/_registry.py": "texts that are read as pictures unless an arm says otherwise",
    "methods/arm.py": "on=images and on=texts are words for the columns of that name",
    "methods/dual/convirt.py": "medical pictures and their sentences",
    "methods/dual/cwcl.py": "freezes the tower of texts unless another column is asked for",
    "methods/dual/diht_distilled.py": "concepts of captions, as a teacher sees them in pictures",
    "methods/dense/filip.py": "patches and words",
    "methods/dual/jest.py": "the reference reads captions in its own tokens",
    "methods/dual/llm_vem.py": "pictures, their descriptions, and voxels",
    "methods/dense/mil.py": "patches",
    "methods/dual/msclap.py": "learns labels from the column that is no text",
    "methods/several/more.py": "its hub is the texts where there are any",
    "methods/labels/_scores.py": "prefers pictures where there are other columns too",
    "methods/labels/hydra.py": "prefers pictures where there are other columns too",
    "methods/labels/luab.py": "clicks are in pictures",
    "methods/labels/l1.py": "prefers pictures where there are other columns too",
    "methods/labels/m_dyr.py": "prefers pictures where there are other columns too",
    "methods/labels/protonet.py": "prefers pictures where there are other columns too",
    "methods/labels/sbcl.py": "prefers pictures where there are other columns too",
    "methods/labels/supcon_bins.py": "prefers pictures where there are other columns too",
    "methods/pictures/byol.py": "the asymmetric views of pictures",
    "methods/pictures/guided_ntxent.py": "a teacher that sees pictures",
    "methods/pictures/jigclu.py": "montages are of pictures",
    "methods/pictures/mlcd.py": "its encoder is of pictures",
    "methods/pictures/sepclr.py": "prefers pictures where there are other columns too",
    "methods/pictures/swav.py": "small crops are of pictures",
    "methods/dual/text_shearing.py": "several captions of a picture",
    "methods/queue/_base.py": "prefers pictures where there are other columns too",
    "methods/queue/moco_dual_view.py": "its noise is of pixels",
    "methods/queue/sy_con.py": "prefers pictures where there are other columns too",
    "methods/rocket/_base.py": "options that name the augmentation of pictures and of texts",
    "methods/speech/best_alignment.py": "speech and what is said",
    "methods/single/ebm.py": "samples of pixels",
    "methods/text/conan.py": "keeps the tokens of documents",
    "methods/single/whitened_cse.py": "prefers texts where there are other columns too",
}


def names_of_modalities(path: Path) -> set[str]:
    """Return the names of modalities that the code of a file holds, docstrings apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in PAIR
    }


def test_no_file_that_serves_all_modalities_names_one() -> None:
    files = {path for pattern in LOOKED_AT for path in SOURCE.glob(pattern)}
    assert len(files) > 40
    naming = {str(path.relative_to(SOURCE)) for path in files if names_of_modalities(path)}
    assert naming == set(ABOUT_PICTURES_OR_WORDS)


@pytest.mark.parametrize("modality", list(MODALITIES), ids=lambda m: m.name)
def test_what_an_entry_refers_to_is_there(modality: Modality) -> None:
    references = [value for value in vars(modality).values() if isinstance(value, str) and ":" in value]
    assert len(references) > 3
    functions = [resolve(reference) for reference in references if reference != modality.corruptions]
    assert all(map(callable, functions))
    assert all(map(callable, (resolve(modality.corruptions) or {}).values()))


def test_listing_them_loads_no_torch() -> None:
    listed = "from counterpoint.modalities import MODALITIES as m; len(m.names()) > 2 or print('too few')"
    code = f"import sys; {listed}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
