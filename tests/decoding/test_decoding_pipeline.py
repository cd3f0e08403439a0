"""Through the pipeline of transformers, with a processor made here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoint.decoding import LanguageContrastive, Ritual, VisualContrastive
from fixtures.tiny_vlms import BEGIN, END, IMAGE, PAD, VOCABULARY, tiny


@pytest.fixture(scope="module")
def processor() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

    named = {"<pad>": PAD, "</s>": END, "<image>": IMAGE, "<s>": BEGIN}
    words = {f"w{number}": number for number in range(VOCABULARY) if number not in named.values()}
    tokenizer = Tokenizer(models.WordLevel(named | words, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            eos_token="</s>",
            bos_token="<s>",
            additional_special_tokens=["<image>"],
            padding_side="left",
            model_input_names=["input_ids", "attention_mask"],
        ),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def test_a_pipeline_takes_a_bound_method(processor: Any) -> None:
    from transformers import pipeline

    model = tiny("Llava")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    text = "<s> <image> w7 w9 w12"
    inputs = processor(images=image, text=text, return_tensors="pt")
    ritual = Ritual()
    other = processor(images=ritual.transform(image), text=text, return_tensors="pt")
    pipe = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    for bound in (
        VisualContrastive().on(inputs),
        LanguageContrastive().on(inputs),
        ritual.on(inputs, transformed=other),
    ):
        options = {"do_sample": False, "custom_generate": bound}
        (said,) = pipe(
            images=image, text=text, generate_kwargs=dict(options), max_new_tokens=5, return_full_text=False
        )
        out = model.generate(**inputs, max_new_tokens=5, **options)
        words = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :])
        assert said["generated_text"].split() == words[0].split()
        assert bound.cost is not None
        assert bound.cost.passes["own"] == 5
