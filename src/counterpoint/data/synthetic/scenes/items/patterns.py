"""MMVP's nine visual patterns, and what scenes have of them.

| pattern                                 | edits that differ in it                       |
| --------------------------------------- | --------------------------------------------- |
| orientation and direction               | replace facing                                |
| presence of specific features           | add object (things have no parts to miss)     |
| state and condition                     | none: an emoji is always in the same state    |
| quantity and count                      | replace count                                 |
| positional and relational context       | replace relation, swap object                 |
| colour and appearance                   | replace colour, swap colour, add colour       |
| structural and physical characteristics | replace size, swap size (shapes do not vary)  |
| text                                    | none: nothing is written in a scene           |
| viewpoint and perspective               | none: everything is flat, seen from the front |

``replace object`` belongs to none of them: what a thing is is what contrastive models see best.

Source: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs" (2024), arXiv 2401.06209.
"""

from __future__ import annotations

from .changes import EditKind

PAPERS = {"mmvp": ("PATTERNS",)}

PATTERNS: dict[str, tuple[EditKind, ...]] = {
    "orientation and direction": ("replace facing",),
    "presence of specific features": ("add object",),
    "state and condition": (),
    "quantity and count": ("replace count",),
    "positional and relational context": ("replace relation", "swap object"),
    "colour and appearance": ("replace colour", "swap colour", "add colour"),
    "structural and physical characteristics": ("replace size", "swap size"),
    "text": (),
    "viewpoint and perspective": (),
}
"""The kinds of edits of each pattern, in the paper's order."""
