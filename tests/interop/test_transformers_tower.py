"""transformers encoders: states as theirs, pooled by their kind, weights whole or a clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

from counterpoint.networks import BytePairTokenizer, build_towers
from counterpoint.networks.base import TextTower
from counterpoint.recipes.schema import Towers
from counterpoint.registry import UnknownNameError

CAPTIONS = ["a red car", "a blue car on a red road", "car"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "car", "on", "road", "[", "]", "sep"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save(folder: Path, kind: str) -> torch.nn.Module:
    """A random small model of a kind, with a tokenizer, as its makers would save it."""
    torch.manual_seed(0)
    if kind in ("bert", "bert-lm"):
        (folder / "vocab.txt").write_text("\n".join(WORDS))
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
        own_dropout = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
        config = transformers.BertConfig(
            vocab_size=len(WORDS), max_position_embeddings=32, **SIZES, **own_dropout
        )
        cls = transformers.BertModel if kind == "bert" else transformers.BertForMaskedLM
        model = cls(config)
    else:
        backend = BytePairTokenizer.train(CAPTIONS, 300, 16)._backend
        backend.no_truncation()
        backend.no_padding()
        if kind == "gpt2":  # adds no special tokens of its own
            backend.post_processor = tokenizers.processors.ByteLevel()
        transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>").save_pretrained(
            folder
        )
        if kind == "gpt2":
            model = transformers.GPT2Model(
                transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=32)
            )
        elif kind == "t5":
            model = transformers.T5Model(
                transformers.T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
            )
        else:
            text = {**SIZES, "vocab_size": 300, "max_position_embeddings": 32, "eos_token_id": 2}
            vision = {**SIZES, "image_size": 32, "patch_size": 16}
            model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    return model.eval()


def tower(name: str, seed: int = 0, context: int = 16) -> TextTower:
    return build_towers(Towers(text=name, context=context), {"text": CAPTIONS}, seed)["text"]


def test_bert_is_read_at_its_first_token_with_padding_masked(tmp_path: Path) -> None:
    model = save(tmp_path, "bert")
    text = tower(f"transformers:bert@{tmp_path}").eval()
    assert text.pooling == "first"
    assert text.width == 16
    features = text(text.tokenizer(CAPTIONS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for caption, own in zip(CAPTIONS, features, strict=True):
        alone = model(**tokenizer([caption], return_tensors="pt")).last_hidden_state
        assert torch.allclose(alone[0, 0], own, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "pooling"), [("gpt2", "end"), ("t5", "mean"), ("clip", "end"), ("bert-lm", "first")]
)
def test_kinds_and_their_poolings(tmp_path: Path, kind: str, pooling: str) -> None:
    save(tmp_path, kind)
    text = tower(f"transformers:{kind.removesuffix('-lm')}@{tmp_path}").eval()
    assert text.pooling == pooling
    together = text(text.tokenizer(CAPTIONS))
    assert together.shape == (3, text.width)
    for caption, own in zip(CAPTIONS, together, strict=True):
        assert torch.allclose(text(text.tokenizer([caption]))[0], own, atol=1e-5)
    text.train()
    text(text.tokenizer(CAPTIONS)).square().sum().backward()
    assert all(p.grad is not None for p in text.parameters()), "no part is left that nothing trains"


def test_maximum_over_the_captions_own_tokens(tmp_path: Path) -> None:
    model = save(tmp_path, "bert")
    text = tower(f"transformers:bert@{tmp_path}").eval()
    text.pooling = "max"
    features = text(text.tokenizer(CAPTIONS))
    alone = model(input_ids=text.tokenizer(CAPTIONS[2:])).last_hidden_state
    assert torch.allclose(features[2], alone[0].max(0).values, atol=1e-5)


def sentence_encoder(
    folder: Path, modes: str | tuple[str, ...], *parts: torch.nn.Module
) -> SentenceTransformer:
    """A random small BERT with a way of pooling, as its library saves it."""
    (folder / "bert").mkdir()
    save(folder / "bert", "bert")
    model = SentenceTransformer(
        modules=[Transformer(str(folder / "bert")), PoolingModule(16, pooling_mode=modes), *parts],
        device="cpu",
    )
    model.save(str(folder / "saved"))
    return model


OLD_NAMES = (
    "cls_token",
    "max_tokens",
    "mean_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)


@pytest.mark.parametrize("mode", PoolingModule.POOLING_MODES)
@pytest.mark.parametrize("form", ["of today", "before version 6"])
def test_a_sentence_encoder_pools_as_its_folder_says(tmp_path: Path, mode: str, form: str) -> None:
    model = sentence_encoder(tmp_path, mode, Normalize())
    if form != "of today":
        keys = {
            m: f"pooling_mode_{name}" for m, name in zip(PoolingModule.POOLING_MODES, OLD_NAMES, strict=True)
        }
        old = {key: m == mode for m, key in keys.items()}
        settings = {"word_embedding_dimension": 16, **old}
        (tmp_path / "saved" / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    text = tower(f"transformers:bert@{tmp_path / 'saved'}").eval()
    features = torch.nn.functional.normalize(text(text.tokenizer(CAPTIONS)), dim=-1)
    torch.testing.assert_close(features, torch.from_numpy(model.encode(CAPTIONS)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("modes", "parts", "message"),
    [
        (("mean", "max"), (), "pools by mean and max; here by one of"),
        ("mean", (Dense(16, 8),), "has parts that are not read here: Dense"),
    ],
)
def test_a_sentence_encoder_that_does_more_is_refused(
    tmp_path: Path, modes: str | tuple[str, ...], parts: tuple[torch.nn.Module, ...], message: str
) -> None:
    sentence_encoder(tmp_path, modes, *parts)
    with pytest.raises(ValueError, match=message):
        tower(f"transformers:bert@{tmp_path / 'saved'}")


def test_captions_that_begin_with_their_end_token_differ(tmp_path: Path) -> None:
    save(tmp_path, "gpt2")
    config = json.loads((tmp_path / "tokenizer.json").read_text())
    config["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<end>": {"id": "<end>", "ids": [2], "tokens": ["<end>"]}},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    text = tower(f"transformers:gpt2@{tmp_path}").eval()
    tokens = text.tokenizer([*CAPTIONS, ""])
    assert tokens[0].tolist()[0] == text.tokenizer.end
    assert tokens[3].tolist()[:2] == [text.tokenizer.end] * 2
    features = text(tokens)
    assert torch.pdist(features).min() > 0.01
    for caption, own in zip([*CAPTIONS, ""], features, strict=True):
        assert torch.allclose(text(text.tokenizer([caption]))[0], own, atol=1e-5)


def test_captions_end_are_cut_and_special_names_are_text(tmp_path: Path) -> None:
    save(tmp_path, "bert")
    tokenizer = tower(f"transformers:bert@{tmp_path}", context=6).tokenizer
    ids = tokenizer([*CAPTIONS, "[SEP] car", "a red " * 20])
    assert ids.shape == (5, 6)
    for row in ids.tolist():
        assert row.count(3) == 1
        assert set(row[row.index(3) + 1 :]) <= {0}
    assert tokenizer([]).shape == (0, 6)


def test_a_tokenizer_without_ends_gets_them(tmp_path: Path) -> None:
    save(tmp_path, "gpt2")
    tokenizer = tower(f"transformers:gpt2@{tmp_path}", context=5).tokenizer
    rows = tokenizer(CAPTIONS).tolist()
    assert all(row[-1] == tokenizer.end for row in rows), (
        "cut, or padded with the end token for want of another"
    )
    assert rows[2][0] != tokenizer.end == rows[2][1]


def test_dropout_on_block_inputs_while_training_only(tmp_path: Path) -> None:
    save(tmp_path, "bert")
    text = tower(f"transformers:bert@{tmp_path}").eval()
    tokens = text.tokenizer(CAPTIONS)
    plain = text(tokens)
    assert torch.equal(text(tokens, dropout=0.5), plain)
    assert not torch.allclose(text.train()(tokens, dropout=0.5), plain)
    assert torch.allclose(text(tokens), plain, atol=1e-6)


def test_a_kind_by_name_is_random_by_seed_with_our_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    default = transformers.BertConfig.__init__
    monkeypatch.setattr(
        transformers.BertConfig, "__init__", lambda self, **options: default(self, **{**options, **SIZES})
    )
    before = torch.random.get_rng_state()
    one = tower("transformers:bert", seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    two, three = tower("transformers:bert", seed=1), tower("transformers:bert", seed=2)
    assert isinstance(one.tokenizer, BytePairTokenizer)
    tokens = one.tokenizer(CAPTIONS)
    assert torch.equal(one.eval()(tokens), two.eval()(tokens))
    assert not torch.allclose(one(tokens), three.eval()(tokens))


def test_incomplete_and_broken_weights(tmp_path: Path) -> None:
    save(tmp_path, "bert")
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    del state["encoder.layer.1.attention.self.query.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lack encoder\.layer\.1\.attention\.self\.query\.weight"):
        tower(f"transformers:bert@{tmp_path}")
    state["encoder.layer.1.attention.self.query.weight"] = torch.ones(3, 3)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="could not be read"):
        tower(f"transformers:bert@{tmp_path}")
    file.write_bytes(b"junk")
    with pytest.raises(ValueError, match="could not be read"):
        tower(f"transformers:bert@{tmp_path}")
    with pytest.raises(ValueError, match="no file or folder"):
        tower("transformers:bert@/nowhere/at/all")


def test_a_context_longer_than_the_models(tmp_path: Path) -> None:
    save(tmp_path, "bert")
    with pytest.raises(ValueError, match="context=64 is more than the 32 tokens"):
        tower(f"transformers:bert@{tmp_path}", context=64)


@pytest.mark.parametrize(("kind", "needed"), [("bert", 3), ("gpt2", 2)])
def test_a_context_without_room_for_a_text(tmp_path: Path, kind: str, needed: int) -> None:
    """In fewer tokens than a tokenizer puts around a text, all texts would be the same, or not be cut at all."""
    save(tmp_path, kind)
    for context in range(1, needed):
        with pytest.raises(ValueError, match=rf"context={context} is too small: .* need {needed}$"):
            tower(f"transformers:{kind}@{tmp_path}", context=context)
    assert tower(f"transformers:{kind}@{tmp_path}", context=needed).tokenizer(["red"]).shape == (1, needed)


def test_nearest_kind() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'distilbert'"):
        tower("transformers:distillbert")


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_captions_that_the_context_cuts(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    caption = "a red car on a blue road"
    whole = tower(f"transformers:{kind}@{tmp_path}", context=32).tokenizer
    length = whole([caption]).shape[1]
    for context, cut in ((length, False), (length - 1, True)):
        tokenizer = tower(f"transformers:{kind}@{tmp_path}", context=context).tokenizer
        assert tokenizer.too_long(["a", caption]).tolist() == [False, cut]
