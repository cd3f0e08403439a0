"""Nothing but a modality's own entry decides by its name: what is registered elsewhere is served alike."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from counterpoint.modalities import MODALITIES, PAIR, Modality, resolve

SOURCE = Path(__file__).parents[1] / "src" / "counterpoint"
LOOKED_AT = (
    *(
        "data/views/transforms.py",
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
    "data/derived/albums.py": "pictures among others, and conversations about them",
    "data/derived/questions.py": "questions about pictures",
    "data/embeddings.py": "pictures by name, for tasks about them",
    "data/listed/pairs.py": "pictures with captions",
    "data/listed/photos.py": "pictures",
    "data/listed/rows.py": "texts beside files are told of as captions",
    "data/listed/stored.py": "texts beside files are told of as captions",
    "data/pictured.py": "pictures with captions, the case with classes of its own",
    "data/reporting/_pairs.py": "pairs of replies to requests about pictures",
    "data/reporting/_seen.py": "captions",
    "data/reporting/advice.py": "commands for pictures",
    "data/reporting/card.py": "the words of Hugging Face for modalities",
    "data/reporting/sections/captions.py": "captions",
    "data/sharded/pictures.py": "pictures with captions",
    "data/sharded/writing.py": "pictures alone need no note of the columns",
    "data/source.py": "the size of pictures, which is said before other inputs are known",
    "data/sources/_names.py": "usual names of columns",
    "data/sources/_values.py": "captions in JSON",
    "data/sources/coco.py": "pictures with captions",
    "data/sources/folder.py": "captions in files beside others",
    "data/sources/ljspeech.py": "speech with what is said",
    "data/sources/llava.py": "pictures with conversations",
    "data/sources/ptbxl.py": "electrocardiograms with reports",
    "data/sources/tables/_roles.py": "captions beside files",
    "data/sources/tables/_rows.py": "captions beside files",
    "data/sources/webdataset.py": "captions beside files",
    "data/nouns.py": "nouns are of texts",
    "data/derived/missing.py": "shifts are other pictures of the same rows",
    "data/derived/voxels.py": "voxels are of pictures",
    "networks/base.py": "says what its own two towers are of",
    "networks/towers/build.py": "builds a tower of pictures for methods that have a second one",
    "methods/_registry.py": "texts that are read as pictures unless an arm says otherwise",
    "methods/needs.py": "on=images and on=texts are words for the columns of that name",
    "methods/convirt.py": "medical pictures and their sentences",
    "methods/cwcl.py": "freezes the tower of texts unless another column is asked for",
    "methods/diht_distilled.py": "concepts of captions, as a teacher sees them in pictures",
    "methods/filip.py": "patches and words",
    "methods/jest.py": "the reference reads captions in its own tokens",
    "methods/llm_vem.py": "pictures, their descriptions, and voxels",
    "methods/mil.py": "patches",
    "methods/msclap.py": "learns labels from the column that is no text",
    "methods/more.py": "its hub is the texts where there are any",
    "methods/_scores.py": "prefers pictures where there are other columns too",
    "methods/hydra.py": "prefers pictures where there are other columns too",
    "methods/luab.py": "clicks are in pictures",
    "methods/l1.py": "prefers pictures where there are other columns too",
    "methods/m_dyr.py": "prefers pictures where there are other columns too",
    "methods/protonet.py": "prefers pictures where there are other columns too",
    "methods/sbcl.py": "prefers pictures where there are other columns too",
    "methods/supcon_bins.py": "prefers pictures where there are other columns too",
    "methods/byol.py": "the asymmetric views of pictures",
    "methods/cim.py": "small crops are of pictures",
    "methods/clip_moe.py": "transformers of pictures and texts",
    "methods/limoe.py": "patches and words",
    "methods/dito.py": "a detector is of pictures, and learns from captions",
    "methods/dbot.py": "masks patches of pictures",
    "methods/guided_ntxent.py": "a teacher that sees pictures",
    "methods/jigclu.py": "montages are of pictures",
    "methods/mlcd.py": "its encoder is of pictures",
    "methods/multimae.py": "masks patches of pictures, and maps are of pictures",
    "methods/segment.py": "maps are of pictures",
    "methods/sepclr.py": "prefers pictures where there are other columns too",
    "methods/swav.py": "small crops are of pictures",
    "methods/text_shearing.py": "several captions of a picture",
    "methods/_adapting.py": "a text tower reads the names of classes",
    "methods/lmpt.py": "captions, and the names of classes",
    "methods/customcontrast.py": "pictures, maps of what stands where, and names",
    "methods/eb_clip.py": "pixels of pictures that gradients change, and captions",
    "methods/alpro.py": "patches of pictures, and names in prompts",
    "methods/prior.py": "patches of pictures, and sentences of reports",
    "methods/cci.py": "prefers pictures where there are other columns too",
    "methods/colva.py": "objects of pictures, by maps of pictures",
    "methods/finedefics.py": "pictures with replies, and descriptions of pictures",
    "methods/fsc_clip.py": "patches of pictures, and tokens of captions",
    "methods/autoencoder.py": "draws pictures",
    "methods/painter.py": "draws pictures of texts",
    "methods/_personal.py": "draws pictures of texts, and learns words of what maps say",
    "methods/custom_diffusion.py": "draws pictures of texts",
    "methods/textual_localization.py": "pictures, and maps of what stands where",
    "methods/_captioning.py": "captions of pictures",
    "methods/blip_2.py": "pictures, conversations and texts",
    "methods/brote.py": "requests about several pictures",
    "methods/sft.py": "requests about one picture or several",
    "methods/_matching.py": "pictures with texts",
    "methods/albef.py": "pictures with texts, and words of texts",
    "methods/amc.py": "pictures with texts, and regions of pictures",
    "methods/lm_supcon.py": "templates of texts",
    "methods/softmask.py": "pictures with texts",
    "methods/_speaking.py": "replies to requests about pictures",
    "methods/_replying.py": "replies to requests about pictures",
    "methods/whole_model.py": "models that reply to requests about pictures",
    "methods/dpo.py": "pairs of replies to requests about pictures",
    "methods/distillm_2.py": "replies to requests about pictures",
    "methods/illume.py": "answers about pictures, and their reasons",
    "methods/step_on_feet.py": "replies to requests about pictures",
    "methods/tldr.py": "pairs of replies to requests about pictures",
    "methods/videolights.py": "queries are texts",
    "methods/dreamlip.py": "patches, and sentences of captions",
    "methods/pcd.py": "patches",
    "methods/pixpro.py": "patches",
    "methods/radio.py": "teachers see pictures",
    "methods/b2t2.py": "boxes of pictures, and the words that name them",
    "methods/siglip_2.py": "pictures, texts, and boxes in words",
    "methods/secla.py": "boxes of pictures, and names",
    "methods/tagalign.py": "tags of captions, and patches",
    "methods/_queue.py": "prefers pictures where there are other columns too",
    "methods/moco_dual_view.py": "its noise is of pixels",
    "methods/sy_con.py": "prefers pictures where there are other columns too",
    "methods/_rocket.py": "options that name the augmentation of pictures and of texts",
    "methods/best_alignment.py": "speech and what is said",
    "methods/coconut_slu.py": "speech and what is said",
    "methods/ebm.py": "samples of pixels",
    "methods/conan.py": "keeps the tokens of documents",
    "methods/whitened_cse.py": "prefers texts where there are other columns too",
    "methods/_taught.py": "teachers see pictures",
    "methods/vladva.py": "pictures, and their short and long captions",
    "methods/uta.py": "masks patches of pictures, and takes a tower of texts over",
}


DECIDES = {
    **ABOUT_PICTURES_OR_WORDS,
    "data/collections/": "say what columns they have themselves",
    "data/sources/": "say what columns they have themselves",
    "data/synthetic/": "say what columns they have themselves",
    "cli/index.py": "a text can be typed in a command, a picture has an option of its own",
    "data/base.py": "nouns are of texts",
    "data/benchmarks/qvhighlights.py": "videos with queries",
    "data/derived/captioned.py": "texts of pictures that a model wrote",
    "data/derived/conversations.py": "the column of conversations, and captions",
    "data/derived/detected.py": "the column of conversations",
    "data/derived/replied.py": "columns of conversations",
    "data/kinds/parsing.py": "the column of conversations",
    "evaluation/tasks/drawn.py": "drawn pictures, and maps of pictures",
    "evaluation/tasks/flagged.py": "replies to requests about pictures",
    "methods/cal.py": "counts passes of conversations without the picture",
    "study/captions.py": "texts for pictures",
    "study/replies.py": "requests about pictures",
    "data/pictures/thumbnails.py": "thumbnails are of pictures",
    "serving/application/gallery.py": "the page shows pictures before other columns",
    "diagnostics/report/embeddings.py": "pictures and texts are inverted, and pictures' views measured",
    "diagnostics/report/reranking.py": "pictures are ranked for texts, and texts for pictures",
    "diagnostics/report/subject.py": "pictures with captions, for what is said of them alone",
    "evaluation/item_scores.py": "items are pictures and texts",
    "evaluation/task.py": "pictures with captions are called so",
    "evaluation/tasks/retrieval.py": "a picture has several captions",
    "evaluation/tasks/twins.py": "twins are told by their texts",
    "evaluation/tasks/modality_importance_score.py": "the questions of its paper, on films and what is said",
    "networks/towers/sentences.py": "sentences go through a tower of texts",
    "exporting/_card.py": "the words of Hugging Face for models of pictures and texts",
    "exporting/_comparison.py": "files of pictures are opened in two ways",
    "exporting/_encoder.py": "pictures are shown in the shape of their tower",
    "interop/": "say of which modalities a library has towers",
    "losses/swalip.py": "names its two sides as its paper does",
    "methods/arm.py": "a text tower reads the names of classes",
    "methods/rebar.py": "a method of series",
    "networks/towers/video.py": "a tower of clips has one of pictures inside",
    "recipes/schema.py": "sizes that are older than the names of modalities before them",
    "serving/application/openai.py": "the requests of an interface for texts, with pictures beside them",
    "serving/embedding/column.py": "a row's text stands beside its vector",
    "serving/indexing/query.py": "what is typed is a text, and a file that says nothing a picture",
    "serving/requests/forms.py": "requests with pictures",
    "study/report/examples.py": "texts stand in words, beside what they are captions of",
    "study/summary.py": "shows how a text is embedded, which needs no file",
    "study/words/learning.py": "texts beside something are its captions",
    "study/words/remarks.py": "the size of pictures",
    "testing/": "examples of every modality to check methods, tasks and towers with",
}
"""Files, and rooms of them, in which something depends on the name of a modality: each with what it is about.

A use that would leave a registered modality aside belongs into the modalities' entries instead.
"""
NO_MODALITIES = {
    "serving/indexing/storage.py": "its table is a file",
}
"""Files with a word that is also the name of a modality."""


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


def constants(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names that files give to the name of a modality: ``TEXT = "text"``."""
    assigned = (node for tree in trees for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign))
    return {
        target.id
        for node in assigned
        if isinstance(node.value, ast.Constant) and node.value.value in MODALITIES.names()
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def names_one(node: ast.AST, known: Collection[str]) -> bool:
    """Return whether an expression is the name of a modality, or a collection with one."""
    if isinstance(node, ast.Constant):
        return node.value in MODALITIES.names()
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(names_one(element, known) for element in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset", "tuple", "list") and any(
            names_one(argument, known) for argument in node.args
        )
    return False


def decides(tree: ast.AST, known: Collection[str] = ()) -> bool:
    """Return whether code does one thing for a modality and another for others.

    It compares with its name, asks whether that is among names, has a case for it, or a dictionary by such names.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            found = any(names_one(side, known) for side in (node.left, *node.comparators))
        elif isinstance(node, ast.MatchValue):
            found = names_one(node.value, known)
        elif isinstance(node, ast.Dict):
            named = [names_one(key, known) for key in node.keys if key is not None]
            # One word among others is a field of something: {"text": …, "value": …}.
            found = sum(named) > 1 or (bool(named) and all(named))
        else:
            continue
        if found:
            return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        'modality == "image"',
        '"audio" != modality',
        'modality in ("audio", "video")',
        'modality not in {"series"}',
        'modality in frozenset(("table", "text"))',
        '"audio" in columns',
        '[kind for kind in kinds] == ["image", "text"]',
        "kind == TEXT",
        '{"audio": read_sound, "video": read_clip}[modality]',
        '{"series": 3}.get(modality, 1)',
        'match modality:\n    case "audio" | "video":\n        pass',
    ],
)
def test_deciding_by_a_name_is_found_in_every_form(code: str) -> None:
    assert decides(ast.parse(code), {"TEXT"})


@pytest.mark.parametrize(
    "code", ['model.embed("audio", x)', '{"text": said, "value": 3}', 'kind == "audio/wav"', '"""audio"""']
)
def test_saying_a_name_is_no_decision(code: str) -> None:
    assert not decides(ast.parse(code), {"TEXT"})


def test_nothing_is_decided_by_name_of_modality_but_is_about_one() -> None:
    trees = {
        str(path.relative_to(SOURCE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
        if path.name != "modalities.py"
    }
    known = constants(trees.values())
    assert "TEXT" in known
    found = {path for path, tree in trees.items() if decides(tree, known)}
    allowed = {*DECIDES, *NO_MODALITIES}
    assert {path for path in found if not path.startswith(tuple(allowed))} == set()
    # No reason is kept for what is not there any more.
    assert {
        it for it in allowed - set(ABOUT_PICTURES_OR_WORDS) if not any(p.startswith(it) for p in found)
    } == set()


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
