"""The tiny vision-language model: what it is taught, that packed conversations are what they seem, that runs resume."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from counterpoint.cli import main
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.questions import named
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.networks.tiny_vlm import build, processor, train_tokenizer
from counterpoint.recipes.tiny_vlm import TinyVLM
from counterpoint.training.run import OtherRunError
from counterpoint.training.tiny_vlm.conversations import (
    ASKED,
    DETAILED,
    LEVELS,
    RATING,
    GroundedExchange,
    Packer,
    corpus,
    exchanges,
    rating,
)
from counterpoint.training.tiny_vlm.grounding import first_token
from counterpoint.training.tiny_vlm.perception import PLACES, PerceptionHeads, targets
from counterpoint.training.tiny_vlm.train import features, train_tiny_vlm

SMALL = {
    "patch": 32,
    "vision": {"width": 16, "layers": 1, "heads": 2},
    "language": {"width": 16, "layers": 3, "heads": 2},
    "vocabulary": 300,
    "perception": {"steps": 3, "batch": 4},
    "conversation": {"steps": 3, "batch": 4, "tokens": 200},
    "precision": "float32",
}


def _none_is_read(stage: str, done: int, whole: int, loss: float) -> None:
    pytest.fail("the world is read before the recipe is refused")


@pytest.fixture(scope="module")
def world() -> Scenes:
    return Scenes.parse("scenes:companions,train=24,validation=1,test=1")


@pytest.fixture(scope="module")
def recipe() -> TinyVLM:
    return TinyVLM.model_validate(SMALL)


class TestWhatItIsTaught:
    def test_yes_and_no_are_as_frequent(self) -> None:
        many = Scenes.parse("scenes:companions,train=400")
        said = Counter(
            (reply, text.startswith(("Is there a ", "Is there an ")))
            for row in range(400)
            for text, reply, _ in exchanges(many, row)
        )
        for existence in (True, False):
            yes, no = said["Yes.", existence], said["No.", existence]
            assert yes + no > 500
            assert abs(yes - no) < 4 * (yes + no) ** 0.5  # four standard deviations of a fair coin

    def test_the_usual_partner_is_not_asked_after_on_purpose(self) -> None:
        assert "adversarial existence" not in ASKED

    def test_it_is_the_same_whenever_it_is_asked(self, world: Scenes) -> None:
        assert list(exchanges(world, 3)) == list(exchanges(world, 3))

    def test_captions_come_short_and_long(self, world: Scenes) -> None:
        told = {one.request: one.reply for one in exchanges(world, 0)}
        assert next(told[text] for text in DETAILED if text in told).count(".") >= 2
        assert all(reply.endswith(".") for reply in told.values())

    def test_a_rating_falls_with_the_corruption(self) -> None:
        def levels(corruption: str | None) -> np.ndarray:
            words = [rating(Scene(k, (), corruption=corruption), Rng(0, k)) for k in range(500)]
            return np.array([next(n for n, level in enumerate(LEVELS) if word in level) for word in words])

        sharp, slight, bad = (levels(kind).mean() for kind in (None, "blur_1", "blur_3"))
        assert sharp < 0.25
        assert 0.8 < slight < 1.2
        assert bad > 1.75

    def test_it_is_told_where_things_are(self) -> None:
        many = Scenes.parse("scenes:companions,train=60")
        answers = Counter[str]()
        for row in range(60):
            single = {t.concept for t in many.scene(row) if many.scene(row).counts()[t.concept] == 1}
            found = [reply for text, reply, _ in exchanges(many, row) if text.startswith("In which part of")]
            assert len(found) == min(2, len(single))
            answers.update(found)
        assert len(answers) >= 7  # of the nine parts
        assert {"At the top left.", "At the right.", "In the middle."} <= set(answers)

    def test_the_fact_is_what_an_open_question_would_be_answered(self) -> None:
        many = Scenes.parse("scenes:companions,train=60")
        opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
        seen = Counter[str]()
        for row in range(60):
            scene = many.scene(row)
            colours = {named(thing.concept, "the"): thing.colour for thing in scene}
            for asked, reply, fact in exchanges(many, row):
                if found := re.search(r"Is (the \w+) (red|yellow|green|blue|purple)\?", asked):
                    assert fact == colours[found[1]]
                    assert (fact == found[2]) == (reply == "Yes.")
                    seen["colour"] += 1
                elif found := re.search(r"Is the \w+ (?:to the )?(left|right|above|below)\b", asked):
                    assert fact == (found[1] if reply == "Yes." else opposite[found[1]])
                    seen["relation"] += 1
                elif asked.startswith(("What colour", "Where is the", "How many")):
                    assert fact in reply.lower().split(".")[0].split()
                    seen["open"] += 1
                elif asked.startswith(("Is there a", "Which of these", "What is in")):
                    assert fact == "" or "exactly" in asked
        assert min(seen.values()) > 10
        assert len(seen) == 3

    def test_every_scene_is_rated(self, world: Scenes) -> None:
        assert all(RATING in {one.request for one in exchanges(world, row)} for row in range(5))


class TestPerception:
    def test_a_patch_shows_the_nearest_thing_over_its_middle(self) -> None:
        behind = Thing("cat", None, "large", 500, 250, 250)
        before = Thing("dog", "red", "small", 200, 375, 375)
        config = SceneConfig(concepts=("cat", "dog"), colours=("red",), objects=1)
        seen = targets([Scene(0, (behind, before), corruption="jpeg_2")], config, 4)
        assert seen.concept.reshape(4, 4).tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [0] * 4, [0] * 4]
        assert seen.colour.reshape(4, 4)[:2, :2].tolist() == [[1, 1], [1, 2]]
        assert seen.size.reshape(4, 4)[:2, :2].tolist() == [[3, 3], [3, 1]]
        assert seen.centre.reshape(4, 4).tolist() == [[0] * 4, [0, 1, 0, 0], [0] * 4, [0] * 4]
        assert seen.corruption.tolist() == [2]

    def test_a_patch_knows_where_its_thing_has_its_centre(self) -> None:
        thing = Thing("cat", None, "large", 500, 250, 750)
        seen = targets([Scene(0, (thing,))], SceneConfig(concepts=("cat", "dog"), objects=1), 4)
        there = seen.concept.reshape(4, 4) > 0
        assert there.nonzero().tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]
        column, row = (1 + PLACES // 4, 1 + 3 * PLACES // 4)
        assert (seen.column.reshape(4, 4) == column * there).all()
        assert (seen.row.reshape(4, 4) == row * there).all()

    def test_heads_read_what_features_say(self) -> None:
        torch.manual_seed(0)
        config = SceneConfig(concepts=("cat", "dog"), objects=1)
        scenes = [Scene(k, (Thing(config.concepts[k % 2], None, "large", 400, 500, 500),)) for k in range(8)]
        seen = targets(scenes, config, 4)
        given = torch.nn.functional.one_hot(seen.concept + 3 * seen.centre, 6).float()
        heads = PerceptionHeads(6, config)
        optimizer = torch.optim.Adam(heads.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            torch.stack(list(heads(given, seen).values())).sum().backward()
            optimizer.step()
        found = heads.accuracy(given, seen)
        assert found["concept"] == 1.0
        assert found["centre"] == 1.0


class TestPacks:
    """A conversation in a pack must get the logits that it gets alone, by the whole model, from the processor."""

    @pytest.mark.parametrize("blind", [0.0, 1.0])
    def test_packed_is_alone(self, world: Scenes, recipe: TinyVLM, blind: float) -> None:
        told = [list(exchanges(world, row)) for row in range(2)]
        tokenizer = train_tokenizer({text for own in told for one in own for text in one[:2]}, 300)
        torch.manual_seed(1)
        model = build(recipe, tokenizer).double().eval()
        reader = processor(recipe, tokenizer)
        changed = recipe.model_copy(update={"blind": blind, "continued": 0.5})
        pictures = world.images(np.arange(2))
        packs = Packer(corpus(told, tokenizer), tokenizer, changed)(np.arange(2), np.random.default_rng(0))
        packed = self._logits(model, packs, pictures)
        checked = 0
        for row in range(2):
            prefix = 2 + 9
            own = packs.mask[row, 0] == 0
            starts = [
                t
                for t in range(prefix, packs.tokens.shape[1])
                if packs.positions[row, t] == (2 if blind else prefix)
            ]
            for start in starts:
                length = int(own[:, start].sum())  # of the conversation that starts here
                words = packs.tokens[row, start : start + length]
                text = "<start><user>" + ("" if blind else "<image>") + tokenizer.decode(words)
                picture = None if blind else pictures[row]
                inputs = reader(images=picture, text=text, add_special_tokens=False, return_tensors="pt")
                with torch.no_grad():
                    alone = model(
                        **{k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
                    )
                torch.testing.assert_close(
                    packed[row, start : start + length], alone.logits[0, -length:], rtol=1e-6, atol=1e-6
                )
                checked += 1
        assert checked >= 4

    def test_only_replies_are_learned(self, world: Scenes, recipe: TinyVLM) -> None:
        told = [list(exchanges(world, row)) for row in range(3)]
        tokenizer = train_tokenizer({text for own in told for one in own for text in one[:2]}, 300)
        packs = Packer(corpus(told, tokenizer), tokenizer, recipe)(np.arange(3), np.random.default_rng(0))
        learned = [
            tokenizer.decode(row[row >= 0]).replace("<end>", "\n").splitlines() for row in packs.targets
        ]
        for row, replies in enumerate(learned):
            assert len(replies) >= 2
            assert packs.weights[row].sum() == pytest.approx(len(replies))
            assert set(replies) <= {one.reply for one in told[row]}

    @pytest.mark.parametrize("blind", [0.0, 1.0])
    def test_facts_stand_where_reply_begins_and_the_picture_is_seen(
        self, world: Scenes, recipe: TinyVLM, blind: float
    ) -> None:
        told = [
            [GroundedExchange("Is the cat red?", "No.", "blue"), GroundedExchange("Is there a cat?", "Yes.")]
        ]
        tokenizer = train_tokenizer([" Is the cat red? blue there a"] * 20, 300)
        changed = recipe.model_copy(update={"blind": blind})
        packs = Packer(corpus(told, tokenizer), tokenizer, changed)(np.arange(1), np.random.default_rng(0))
        begins = packs.tokens == tokenizer.convert_tokens_to_ids("<assistant>")
        assert begins.sum() == 2
        facts = packs.facts[packs.facts != -100].tolist()
        assert facts == ([] if blind else [first_token(tokenizer, "blue")])
        assert begins[packs.facts != -100].all()

    @staticmethod
    def _logits(model: torch.nn.Module, packs: object, pictures: Tensor) -> Tensor:
        with torch.no_grad():
            seen = (pictures.double() / 127.5 - 1).to(torch.float64)
            hidden = model.model.vision_tower(seen, output_hidden_states=True).hidden_states[-1]
            embedded = model.get_input_embeddings()(packs.tokens)
            projected = model.model.multi_modal_projector(hidden)
            image = (packs.tokens == model.config.image_token_id)[..., None]
            states = model.model.language_model(
                inputs_embeds=embedded.masked_scatter(image, projected),
                attention_mask=packs.mask.double(),
                position_ids=packs.positions,
                use_cache=False,
            ).last_hidden_state
            return model.lm_head(states)


class Stopped(Exception):
    """The error in place of a lost machine."""


class TestTraining:
    def test_a_stopped_run_goes_on_exactly(
        self, world: Scenes, recipe: TinyVLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("counterpoint.training.tiny_vlm.train.CHECKPOINT_EVERY", 1)
        whole = train_tiny_vlm(world, tmp_path / "whole", recipe)

        def stop(stage: str, done: int, of: int, loss: float) -> None:
            if stage == "conversation" and done == 2:
                raise Stopped

        with pytest.raises(Stopped):
            train_tiny_vlm(world, tmp_path / "parts", recipe, listen=stop)
        parts = train_tiny_vlm(world, tmp_path / "parts", recipe)
        assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()

    def test_what_is_saved_is_an_ordinary_checkpoint(
        self, world: Scenes, recipe: TinyVLM, tmp_path: Path
    ) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        path = train_tiny_vlm(world, tmp_path, recipe)
        model, reader = AutoModelForImageTextToText.from_pretrained(path), AutoProcessor.from_pretrained(path)
        asked = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there a cat?"}]}
        ]
        text = reader.apply_chat_template(asked, add_generation_prompt=True)
        assert text == "<start><user><image>Is there a cat?<assistant>"
        picture = world.images(np.array([0]))
        inputs = reader(images=picture[0], text=text, return_tensors="pt", add_special_tokens=False)
        assert torch.allclose(inputs["pixel_values"], picture / 127.5 - 1, atol=1e-6)
        assert model.generate(**inputs, max_new_tokens=4, do_sample=False).shape[0] == 1
        assert features(model, picture).shape == (1, 9, 16)

    def test_a_folder_with_another_run_is_left_alone(
        self, world: Scenes, recipe: TinyVLM, tmp_path: Path
    ) -> None:
        path = train_tiny_vlm(world, tmp_path, recipe)
        before = (path / "model.safetensors").read_bytes()
        with pytest.raises(OtherRunError, match="another folder"):
            train_tiny_vlm(world, tmp_path, recipe, seed=1)
        assert (path / "model.safetensors").read_bytes() == before

    def test_a_picture_that_patches_do_not_fill(self, world: Scenes, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="multiple of patch"):
            train_tiny_vlm(world, tmp_path, TinyVLM.model_validate(SMALL | {"patch": 36}))

    def test_a_vocabulary_without_room(self, world: Scenes, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="256 bytes"):
            train_tiny_vlm(world, tmp_path, TinyVLM.model_validate(SMALL | {"vocabulary": 100}))

    @pytest.mark.parametrize(
        ("sizes", "said"),
        [
            ({"vocabulary": 100}, "256 bytes"),
            ({"image_size": 64}, "add pixels=64 to the data"),
            (
                {"vision": {"width": 15, "layers": 1, "heads": 2}},
                r"^vision\.width=15 must be a multiple of 2 for",
            ),
            (
                {"language": {"width": 18, "layers": 3, "heads": 2}},
                r"^language\.width=18 must be a multiple of 4",
            ),
        ],
    )
    def test_what_is_refused_leaves_the_folder_to_the_next_run(
        self, sizes: dict[str, object], said: str, world: Scenes, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=said):
            train_tiny_vlm(world, tmp_path, TinyVLM.model_validate(SMALL | sizes), listen=_none_is_read)
        assert not list(tmp_path.iterdir())

    def test_without_a_limit_of_the_norm_it_learns(self, world: Scenes, tmp_path: Path) -> None:
        unclipped = {
            "steps": 1,
            "batch": 4,
            "optimizer": {"clip_norm": 0.0, "weight_decay": 0.0, "warmup": 0.0},
        }
        train_tiny_vlm(world, tmp_path, TinyVLM.model_validate(SMALL | {"perception": unclipped}))
        moments = load_file(tmp_path / "perception" / "step-0000001" / "optimizer.safetensors")
        assert any(moment.any() for name, moment in moments.items() if name.endswith("/exp_avg"))

    def test_a_language_model_without_a_third_layer(self, world: Scenes, tmp_path: Path) -> None:
        shallow = SMALL | {"language": {"width": 16, "layers": 2, "heads": 2}}
        with pytest.raises(ValueError, match=r"language\.layers=2"):
            train_tiny_vlm(world, tmp_path, TinyVLM.model_validate(shallow))


class TestCommand:
    def test_it_trains_and_says_where_the_model_is(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sizes = [
            *("--options.patch", "32", "--options.vision.width", "16", "--options.vision.heads", "2"),
            *("--options.vision.layers", "1", "--options.language.layers", "3"),
            *("--options.language.width", "16", "--options.language.heads", "2"),
            *("--options.perception.steps", "1", "--options.conversation.steps", "1"),
        ]
        options = [word.replace("--options.", "--") for word in sizes]
        data = "scenes:companions,train=24"
        assert main(["train", "tiny-vlm", "--data", data, "--out", str(tmp_path), "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert Path(told["model"]) == tmp_path / "model"
        assert told["recipe"]["patch"] == 32

    def test_other_data_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["train", "tiny-vlm", "--data", "emoji"]) == 1
        assert "scenes:PRESET" in capsys.readouterr().err
