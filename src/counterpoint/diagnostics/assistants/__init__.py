"""Inside assistants: vision-language models that answer in words.

What they are measured on are the states of their language model, read by the public outputs of transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .boxes import Box, best_box
    from .captions import Layers, LookedAt, Word, contextual_lens, reply_tokens, words_of
    from .hallucination import Detection, best_layers, detection
    from .languages import alignment_by_layer, direction, language_shares, opening_tokens
    from .lens import confidence, logit_lens, similarities, support
    from .reading import Reading, Unembedding, picture_states, prompt_states, read, where
    from .steering import steered

_EXPORTS = {
    "Box": "boxes",
    "Detection": "hallucination",
    "Layers": "captions",
    "LookedAt": "captions",
    "Reading": "reading",
    "Unembedding": "reading",
    "Word": "captions",
    "alignment_by_layer": "languages",
    "best_box": "boxes",
    "best_layers": "hallucination",
    "confidence": "lens",
    "contextual_lens": "captions",
    "detection": "hallucination",
    "direction": "languages",
    "language_shares": "languages",
    "logit_lens": "lens",
    "opening_tokens": "languages",
    "picture_states": "reading",
    "prompt_states": "reading",
    "read": "reading",
    "reply_tokens": "captions",
    "similarities": "lens",
    "steered": "steering",
    "support": "lens",
    "where": "reading",
    "words_of": "captions",
}
__all__ = [
    "Box",
    "Detection",
    "Layers",
    "LookedAt",
    "Reading",
    "Unembedding",
    "Word",
    "alignment_by_layer",
    "best_box",
    "best_layers",
    "confidence",
    "contextual_lens",
    "detection",
    "direction",
    "language_shares",
    "logit_lens",
    "opening_tokens",
    "picture_states",
    "prompt_states",
    "read",
    "reply_tokens",
    "similarities",
    "steered",
    "support",
    "where",
    "words_of",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
