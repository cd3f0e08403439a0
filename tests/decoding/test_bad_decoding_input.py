"""Inputs that cannot work are refused, with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from counterpoint.decoding import (
    DescriptionGrounded,
    LanguageContrastive,
    LeadingQueryContrastive,
    Ritual,
    VisualContrastive,
    describe,
)
from counterpoint.decoding.loop import check_version
from counterpoint.registry import UnknownNameError
from fixtures.tiny_vlms import IMAGE, KINDS, TEXT, VOCABULARY, tiny

KIND = KINDS["Llava"]


def generate(bound: Any, inputs: Any = None, **options: Any) -> Any:
    inputs = KIND.row(1) if inputs is None else inputs
    return tiny("Llava").generate(
        **inputs, **{"do_sample": False, "max_new_tokens": 3} | options, custom_generate=bound
    )


@pytest.fixture(scope="module")
def text_model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TEXT)).eval()
    model.generation_config.eos_token_id = None
    return model


def test_a_method_that_is_not_bound() -> None:
    """Check that the method is refused: were it not callable, transformers would decode plainly and say nothing."""
    with pytest.raises(ValueError, match=r"VisualContrastive is not bound.*\.on\(inputs\)"):
        generate(VisualContrastive())


def test_a_text_only_model(text_model: Any) -> None:
    ids = {"input_ids": torch.tensor([[5, 7, 8]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    with pytest.raises(ValueError, match="hold no tensor pixel_values"):
        text_model.generate(**ids, max_new_tokens=2, custom_generate=VisualContrastive().on(ids))
    with pytest.raises(ValueError, match="LlamaForCausalLM has no picture token"):
        text_model.generate(**ids, max_new_tokens=2, custom_generate=LanguageContrastive().on(ids))
    picture = {**ids, "pixel_values": torch.zeros(1, 3, 8, 8)}
    with pytest.raises(ValueError, match="LlamaForCausalLM takes no pixel_values"):
        text_model.generate(**ids, max_new_tokens=2, custom_generate=VisualContrastive().on(picture))


def test_two_prompts_of_a_text_only_model_are_fine(text_model: Any) -> None:
    ids = {"input_ids": torch.tensor([[5, 7, 8]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    bound = LeadingQueryContrastive().on(ids, leading={"input_ids": torch.tensor([[5, 9, 7, 8]])})
    assert text_model.generate(**ids, max_new_tokens=2, custom_generate=bound).shape == (1, 5)


def test_a_separate_language_model(text_model: Any) -> None:
    """Its logits, cached, at every step; tokens that it lacks are not contrasted."""
    from transformers import LlamaConfig, LlamaForCausalLM

    inputs = KIND.row(1)
    small = LlamaForCausalLM(LlamaConfig(**TEXT | {"vocab_size": VOCABULARY - 3})).eval()
    for language_model in (text_model, small):
        bound = LanguageContrastive(alpha=1.0, language_model=language_model).on(inputs)
        cached = generate(bound, inputs, max_new_tokens=6)
        again = generate(bound, inputs, max_new_tokens=6, use_cache=False)
        assert torch.equal(cached, again)
    assert not torch.equal(
        generate(
            LanguageContrastive(alpha=1.0, language_model=text_model).on(inputs), inputs, max_new_tokens=6
        ),
        generate(LanguageContrastive(alpha=1.0).on(inputs), inputs, max_new_tokens=6),
    )


def test_separate_language_model_reads_prompt_as_it_was_written(text_model: Any) -> None:
    """Template and tokens are the user's own: all of the prompt but the picture, then what was generated."""
    inputs, read = KIND.row(1), []
    hook = text_model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].tolist()), with_kwargs=True
    )
    try:
        bound = LanguageContrastive(alpha=1.0, language_model=text_model).on(inputs)
        out = generate(bound, inputs, max_new_tokens=4, use_cache=False)
    finally:
        hook.remove()
    prompt = inputs["input_ids"][0].tolist()
    words = [token for token in prompt if token != IMAGE]
    assert len(words) < len(prompt)
    said = out[0, len(prompt) :].tolist()
    assert read == [[words + said[:step]] for step in range(4)]


@pytest.mark.parametrize("name", ["Blip2", "InstructBlip", "InstructBlipT5"])
def test_a_language_model_inside_another_needs_the_whole(name: str) -> None:
    inputs = KINDS[name].row(1)
    with pytest.raises(ValueError, match=r"takes no pixel_values.*\.on\(inputs, model=model\)"):
        tiny(name).generate(**inputs, max_new_tokens=2, custom_generate=VisualContrastive().on(inputs))


def test_what_a_method_needs_beside_the_inputs() -> None:
    inputs = KIND.row(1)
    with pytest.raises(ValueError, match=r"LeadingQueryContrastive needs leading=…"):
        LeadingQueryContrastive().on(inputs)
    with pytest.raises(UnknownNameError, match=r"unknown argument of Ritual.on 'transform'.*'transformed'"):
        Ritual().on(inputs, transform=inputs)
    both = VisualContrastive() + Ritual()
    with pytest.raises(ValueError, match="needs transformed=…"):
        both.on(inputs)


def test_inputs_other_than_those_of_generate() -> None:
    with pytest.raises(ValueError, match="bound to other input_ids"):
        generate(VisualContrastive().on(KIND.row(2)))
    with pytest.raises(ValueError, match="bound to other input_ids"):
        generate(VisualContrastive().on(KIND.batch([KIND.row(1), KIND.row(1)])))
    two = KIND.batch([KIND.row(1), KIND.row(2)])
    with pytest.raises(ValueError, match="branch 'leading' has 2 rows, and generate has 1"):
        generate(LeadingQueryContrastive().on(KIND.row(1), leading=two))


def test_a_cache_among_the_inputs() -> None:
    from transformers import DynamicCache

    inputs = {**KIND.row(1), "past_key_values": DynamicCache()}
    with pytest.raises(ValueError, match=r"hold a cache \(past_key_values\), which branches cannot share"):
        VisualContrastive().on(inputs)
    with pytest.raises(ValueError, match="hold a cache"):
        LeadingQueryContrastive().on(KIND.row(1), leading=inputs)


def test_a_cache_that_cannot_be_reordered(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import DynamicCache

    bound = VisualContrastive().on(KIND.row(1))
    seen: list[Any] = []
    monkeypatch.setattr(
        "counterpoint.decoding.running.cache_of", lambda arguments: seen.append(1) or object()
    )
    with pytest.raises(ValueError, match="keeps its state in object, which cannot be reordered"):
        generate(bound, num_beams=2)
    assert hasattr(DynamicCache, "reorder_cache")
    generate(bound)


def test_a_cache_that_all_branches_would_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older versions of transformers keep one static cache on the model."""
    from transformers import LlavaForConditionalGeneration

    shared = tiny("Llava").generate(
        **KIND.row(1), max_new_tokens=1, return_dict_in_generate=True, do_sample=False
    )
    shared = shared.get("cache", shared.get("past_key_values"))
    shared.crop(-shared.get_seq_length())

    def prepare(self: Any, config: Any, arguments: dict[str, Any], *others: Any) -> None:
        arguments["cache"] = shared

    monkeypatch.setattr(LlavaForConditionalGeneration, "_prepare_cache_for_generation", prepare)
    with pytest.raises(ValueError, match="hands out one cache for all branches"):
        generate(VisualContrastive().on(KIND.row(1)))


def test_modes_without_branches() -> None:
    bound = VisualContrastive().on(KIND.row(1))
    with pytest.raises(ValueError, match="generation mode 'beam_sample'"):
        generate(bound, num_beams=2, do_sample=True)
    with pytest.raises(ValueError, match="generation mode 'assisted_generation'"):
        generate(bound, prompt_lookup_num_tokens=2)


def test_beams_with_a_streamer() -> None:
    inputs = KIND.row(1)
    with pytest.raises(ValueError, match="leave out the streamer"):
        generate(VisualContrastive().on(inputs, streamer=object()), num_beams=2)


def test_beams_where_a_method_forbids_them() -> None:
    inputs = KIND.row(1)
    description = describe(tiny("Llava"), inputs, max_new_tokens=2)
    with pytest.raises(ValueError, match="DescriptionGrounded gives no score of a whole sequence"):
        generate(DescriptionGrounded().on(inputs, description=description), num_beams=2)


def test_logits_that_leave_no_token() -> None:
    model = tiny("Llava")
    bound = VisualContrastive().on(KIND.row(1))
    for value in (float("nan"), float("-inf")):
        hook = model.lm_head.register_forward_hook(
            lambda *_, value=value: torch.full((1, 1, VOCABULARY), value)
        )
        try:
            with pytest.raises(
                ValueError, match="step 0: VisualContrastive leaves no token with a finite score"
            ):
                generate(bound)
        finally:
            hook.remove()


def test_weights_that_overflow() -> None:
    with pytest.raises(ValueError, match="weights are too large"):
        generate(VisualContrastive(alpha=3e38, beta=0).on(KIND.row(1)))


def test_tokens_that_the_model_itself_forbids_stay_forbidden() -> None:
    model, inputs = tiny("Llava"), KIND.row(1)
    ((*_, first),) = generate(VisualContrastive().on(inputs), inputs, max_new_tokens=1).tolist()
    hook = model.lm_head.register_forward_hook(
        lambda module, args, out: out.index_fill(-1, torch.tensor([first]), -torch.inf)
    )
    try:
        out = generate(VisualContrastive().on(inputs), inputs, max_new_tokens=4)
    finally:
        hook.remove()
    assert first not in out[0, -4:].tolist()


@pytest.mark.parametrize("version", ["4.45.2", "4.55.4"])
def test_versions_without_the_hook(version: str) -> None:
    with pytest.raises(ImportError, match=rf"needs transformers>=4\.56.*{version} is installed"):
        check_version(version)


@pytest.mark.parametrize("version", ["4.56.0", "5.0.0rc1", "5.24.0"])
def test_versions_with_the_hook(version: str) -> None:
    check_version(version)
