"""Minimal pairs: two scenes that differ in one thing, so that the caption of neither is true of the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice

from .....registry import unknown
from ....rng import Rng
from ..concepts import CONCEPTS
from ..config import SceneConfig
from ..layout.compositions import colour_parts, relation_parts
from ..scene import UNIT, Relation, Scene, relation_holds
from ..words.captions import Caption, short
from ..words.referring import Attribute
from .changes import EDITS, EditKind, changes
from .truth import relations_of, true_of

PAPERS = {"bivlc": ("edit",)}

ADDING: tuple[EditKind, ...] = ("add object", "add colour")
"""Kinds of edits after which the first caption is true of the second picture too, and merely says less."""

TRIES = 24
"""Changes that are tried before a scene counts as one that cannot change so."""

_EXACT: dict[EditKind, tuple[Attribute, ...]] = {
    "replace size": ("size",),
    "swap size": ("size",),
    "replace facing": ("facing",),
}
_RESIZING = ("replace size", "swap size")  # which may disturb relations that nobody speaks of

Span = tuple[int, int]
Spans = tuple[Span, ...]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Edit:
    """Two scenes that differ in one thing.

    Attributes:
        kind: in what.
        before, after: the scenes.
        things: which things differ, as places in ``before`` and as places in ``after``; of an added thing the
            first are none.
    """

    kind: EditKind
    before: Scene
    after: Scene
    things: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def boxes(self) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
        """The squares of what differs, before and after, in thousandths."""
        old, new = self.things
        return tuple(self.before.things[i].box for i in old), tuple(self.after.things[i].box for i in new)

    @property
    def exact(self) -> tuple[Attribute, ...]:
        """Return the attributes that captions must give of every thing, so that the difference is said."""
        return _EXACT.get(self.kind, ())

    def captions(self, language: str = "en", draws: Rng | None = None) -> tuple[Caption, Caption]:
        """Return short captions of both scenes, said in the same way."""
        before, after = (short(scene, language, draws, self.exact) for scene in (self.before, self.after))
        return before, after

    def spans(self, language: str = "en", draws: Rng | None = None) -> tuple[Spans, Spans]:
        """Find the words in which `captions` differ, as starts and ends: without them both captions are the same."""
        texts = [caption.text for caption in self.captions(language, draws)]
        words = [[match.span() for match in re.finditer(r"\w+|[^\w\s]", text)] for text in texts]
        tokens = [[text[slice(*span)] for span in spans] for text, spans in zip(texts, words, strict=True)]
        changed: tuple[list[Span], list[Span]] = ([], [])
        for tag, *places in SequenceMatcher(a=tokens[0], b=tokens[1], autojunk=False).get_opcodes():
            for side, (start, end) in enumerate((places[:2], places[2:])):
                if tag != "equal" and start < end:
                    changed[side].append((words[side][start][0], words[side][end - 1][1]))
        return tuple(changed[0]), tuple(changed[1])


def edit(
    kind: str,
    scene: Scene,
    draws: Rng,
    config: SceneConfig | None = None,
) -> Edit | None:
    """Return a scene as it is and with one thing changed; None where it has nothing that can change so.

    ``replace``: a thing, or all copies of it, becomes another object, colour or size, turns round, or there are
    more or fewer of it; or the subject of a relation moves to stand in another one. ``swap``: two things exchange
    what they are, their colours or their sizes. ``add``: a thing that was not there, or a colour where there was
    none. Everything else stays as it is, also the relations that nobody speaks of, unless a thing moves.

    The edited scene keeps to the concepts, colours, sizes, relations, facings and numbers of things of the
    configuration, and not to what goes together in it (``pairs``, ``spurious``). Where the configuration holds
    compositions out, the scene shows none of another part than its own, so that an edit of a training scene never
    shows what is kept for the test.

    Args:
        kind: one of `EDITS`.
        scene: what is edited.
        draws: decides among the ways to do it.
        config: of the world that the scene is from.

    Raises:
        UnknownNameError: for a kind that is not known.

    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> edit("replace colour", Scene(0, (cat,)), Rng(0, 0)).after.things[0].colour
    'yellow'
    >>> edit("swap colour", Scene(0, (cat,)), Rng(0, 0)) is None
    True
    """
    config = config or SceneConfig()
    for each in EDITS:
        if each == kind:
            for change in islice(changes(each, scene, draws, config), TRIES):
                candidate = Edit(each, scene, change.after, (change.old, change.new))
                if _keeps_to_its_part(change.after, config) and is_minimal(candidate):
                    return candidate
            return None
    raise unknown("kind of edit", kind, EDITS)


def _keeps_to_its_part(scene: Scene, config: SceneConfig) -> bool:
    colours, relations = config.colour_compositions, config.relation_compositions
    return (colours == "any" or colour_parts(scene) <= {colours}) and (
        relations == "any" or relation_parts(scene) <= {relations}
    )


def is_minimal(edit: Edit) -> bool:
    """Return whether an edit changes what it says and nothing else, and the captions tell the two scenes apart.

    The caption of the second is false of the first; that of the first is false of the second too, but for
    `ADDING`.
    """
    before, after = edit.before, edit.after
    if any(min(thing.box) < 0 or max(thing.box) > UNIT for thing in after):
        return False
    if edit.kind in _RESIZING and relations_of(before) != relations_of(after):
        return False
    if not all(_is_composed(after, relation) for relation in after.relations):
        return False
    told_apart = edit.kind in ADDING or not true_of(before, after, edit.exact)
    return told_apart and not true_of(after, before, edit.exact)


def _is_composed(scene: Scene, relation: Relation) -> bool:
    subject, object = scene.things[relation.subject], scene.things[relation.object]
    if relation.kind == "inside" and CONCEPTS[object.concept].kind != "container":
        return False
    return relation_holds(relation.kind, subject, object, hidden=relation.subject < relation.object)
