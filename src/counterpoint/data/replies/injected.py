"""Good replies with one thing changed, so that they are plausible and false."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from ...types import Assistant, Prompt
from ._maker import ReplyRequest

_ASKS = """Rewrite the answer for a similar but different picture. Change an object, a colour, a number or a position. \
Keep it common and logical, and as long as it is.

Question: What is on the table?
Answer: A white cup and two apples.
Rewritten: A white cup and three pears.

Question: Describe the picture.
Answer: A man in a red shirt rides a bicycle along a river.
Rewritten: A man in a blue shirt rides a horse along a river.

Question: {request}
Answer: {reply}
Rewritten:"""


@final
class Injected:
    """The good reply with an error put into it.

    Data that knows what its pictures show changes one thing of a picture and says that in the same words. Of other
    data, the assistant is asked to rewrite the reply, with two examples and without the picture.

    Source: Pi et al., "Strengthening Multimodal Large Language Model with Bootstrapped Preference Optimization" (2024),
    arXiv 2403.08730; the examples and the instruction are not the paper's.
    """

    papers: ClassVar[tuple[str, ...]] = ("bpo",)

    def __call__(self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int) -> list[str | None]:
        """Return the replies."""
        prompts = [
            Prompt(_ASKS.format(request=one.prompt.text, reply=one.reply))
            for one in asked
            if one.edited is None
        ]
        written = iter(assistant.reply(prompts, seed=seed) if prompts else [])
        return [next(written).split("\n")[0] if one.edited is None else one.edited for one in asked]
