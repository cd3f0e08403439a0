"""Likelihoods of replies by whole models of transformers: those of their own steps, for every class."""

from __future__ import annotations

import pytest
import torch

from counterpoint.decoding import VisionLanguageAssistant
from counterpoint.decoding.likelihood import tokens_log_p
from counterpoint.types import Prompt
from fixtures.chat import processor_of
from fixtures.tiny_vlms import END, KINDS, TEXT, tiny

SAID = torch.tensor([7, 9, 8])


@pytest.mark.parametrize("name", ["Llava", "Qwen2VL", "Qwen2_5_VL", "SmolVLM", "InternVL"])
def test_likelihoods_are_those_of_the_models_own_steps(name: str) -> None:
    model, inputs = tiny(name), KINDS[name].row(1)
    made = model.generate(
        **inputs, max_new_tokens=4, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    tokens = made.sequences[0, inputs["input_ids"].shape[1] :]
    expected = [scores[0].log_softmax(-1)[token] for scores, token in zip(made.scores, tokens, strict=True)]
    torch.testing.assert_close(
        tokens_log_p(model, inputs, tokens), torch.stack(expected), rtol=1e-3, atol=1e-4
    )
    other = KINDS[name].row(2)
    pixels = {key: value for key, value in other.items() if key.startswith("pixel_values")}
    assert not torch.allclose(
        tokens_log_p(model, {**inputs, **pixels}, SAID), tokens_log_p(model, inputs, SAID)
    )


def test_an_assistant_says_how_likely_replies_are() -> None:
    model, processor = tiny("Llava"), processor_of()
    assistant = VisionLanguageAssistant(model, processor)
    picture = torch.randint(0, 256, (3, 12, 16), dtype=torch.uint8)
    prompts = [Prompt("is it a cat", picture), Prompt("what", None)]
    found = assistant.log_p(prompts, ["yes", "red cat"])
    tokens = [*processor.tokenizer("red cat", add_special_tokens=False)["input_ids"], END]
    expected = tokens_log_p(model, assistant.inputs(prompts[1:]), torch.tensor(tokens)).sum()
    torch.testing.assert_close(found[1], expected)
    assert found.shape == (2,)


def test_inputs_of_several_prompts_and_models_with_other_places_are_refused() -> None:
    row = KINDS["Llava"].row(1)
    several = {name: torch.cat([value, value]) for name, value in row.items()}
    with pytest.raises(ValueError, match="the inputs are of 2 prompts"):
        tokens_log_p(tiny("Llava"), several, SAID)
    with pytest.raises(ValueError, match="it is not known which of them belong to the reply"):
        tokens_log_p(_Short(), row, SAID)


class _Short:
    """A model with one logit more than tokens."""

    def __call__(self, input_ids: torch.Tensor, **rest: object) -> object:
        class Output:
            logits = torch.zeros(1, input_ids.shape[1] + 1, TEXT["vocab_size"])

        return Output()
