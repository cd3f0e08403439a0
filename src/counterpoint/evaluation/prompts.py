"""Prompts for vision-language models: instructions, questions and answers in the form that chat templates read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..data.items import Question
from ..data.rng import Rng

Message = dict[str, Any]
"""``{"role": "user" or "assistant", "content": [{"type": "image"}, {"type": "text", "text": …}]}``"""

INSTRUCTIONS = (
    "Describe the picture.",
    "What is in this picture?",
    "Write a caption for this picture.",
    "What do you see?",
    "Say in a few words what the picture shows.",
)
LEADS = {
    "confident": "I am sure that the answer is {answer}. {question}",
    "polite": "I think that the answer is {answer}, but I would like to hear it from you. {question}",
    "doubtful": "I am not sure, but the answer may be {answer}. {question}",
}
"""Words, by tone, in which someone who asks gives an answer before the question."""


def captioning(caption: str, draws: Rng | None = None) -> list[Message]:
    """Return a request to describe the picture, and its caption.

    Args:
        caption: the answer.
        draws: choose among `INSTRUCTIONS`; None takes the first.

    >>> captioning("a red cat")[1]
    {'role': 'assistant', 'content': [{'type': 'text', 'text': 'A red cat.'}]}
    """
    request = draws.choice("instruction", INSTRUCTIONS) if draws else INSTRUCTIONS[0]
    return [_user(request, picture=True), _assistant(caption)]


def answering(questions: Iterable[Question]) -> list[Message]:
    """Return questions about one picture and their answers, turn by turn; the picture comes with the first.

    >>> for message in answering([Question("count", "How many cats are there?", "two", ("one", "two"))]):
    ...     print(message["content"][-1]["text"])
    How many cats are there? Answer one or two.
    Two.
    """
    messages: list[Message] = []
    for question in questions:
        messages += [_user(prompt(question), picture=not messages), _assistant(question.answer)]
    return messages


def prompt(question: Question) -> str:
    """Return a question with its possible answers, as a model is asked.

    >>> prompt(Question("colour", "Is the cat red?", "yes", ("yes", "no")))
    'Is the cat red? Answer yes or no.'
    """
    return question.closed


def _user(text: str, picture: bool) -> Message:
    return {"role": "user", "content": [*[{"type": "image"}] * picture, {"type": "text", "text": text}]}


def _assistant(answer: str) -> Message:
    sentence = answer[:1].upper() + answer[1:]
    return {"role": "assistant", "content": [{"type": "text", "text": sentence.removesuffix(".") + "."}]}
