"""Specs: what is written is read back, and becomes the name of a folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.methods.arm import Arm
from counterpoint.spec import Spec, _quoted, slug
from counterpoint.study.decoding import DecodingArm


def texts(without: str, least: int) -> st.SearchStrategy[str]:
    """Return a strategy for texts without some characters and without spaces around them."""
    characters = st.characters(exclude_characters=without, exclude_categories=("Cs",))
    return st.text(characters, min_size=least).filter(lambda text: text == text.strip())


SPECS = st.builds(Spec, texts("", 0), st.dictionaries(texts(",=", 1), texts("", 1), max_size=4))


@given(SPECS)
def test_a_spec_is_read_back_from_its_text(spec: Spec) -> None:
    assert Spec.parse(str(spec)) == spec
    assert list(Spec.parse(str(spec)).options) == list(spec.options)
    assert hash(Spec.parse(str(spec))) == hash(spec)


@given(SPECS, st.sampled_from(["", " ", "\t ", "  "]))
def test_spaces_between_the_parts_do_not_count(spec: Spec, space: str) -> None:
    options = (
        f"{space}{option}{space}={space}{_quoted(value)}{space}" for option, value in spec.options.items()
    )
    assert Spec.parse(",".join([f"{space}{_quoted(spec.name)}{space}", *options])) == spec


@given(SPECS)
def test_a_slug_is_a_short_file_name_for_its_spec_alone(spec: Spec) -> None:
    assert not set(spec.slug) & set('/\\:*?"<>| \n\0')
    assert 0 < len(spec.slug.encode()) <= 100
    assert not spec.slug.startswith(".")
    other = Spec(spec.name, {**spec.options, "one more": "/"})
    assert other.slug != spec.slug


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slip,ssl_weight", "'slip,ssl_weight': 'ssl_weight' is no option; write name=value"),
        ("slip,=2", "'=2' is no option"),
        ("slip,ssl_weight= ", "'ssl_weight=' is no option"),
        ("clips:order,", "'clips:order,': '' is no option"),
        ("clips:order,seed=1, seed =2", "option 'seed' is given twice"),
    ],
)
def test_what_is_no_option_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spec.parse(text)


LONG = f"moco,momentum=0.125,temperature=0.125,image=timm:{'x' * 90}"


@pytest.mark.parametrize(
    ("arm", "folder"),
    [
        (Arm.parse("cnn@runs/first"), "cnn-first-49906d"),
        (
            Arm.parse("open_clip:ViT-B-32@/models/my vit.pt,tune=lora"),
            "open_clip-ViT-B-32-my-vit.pt,tune=lora-5791ec",
        ),
        (Arm.parse("clip,temperature=1e+2"), "clip,temperature=1e-2-5bc3ae"),
        (Arm.parse(LONG), f"moco,momentum=0.125,temperature=0.125,image=timm-{'x' * 31}-348d43"),
        (DecodingArm.parse("vcd,alpha=0.5+ritual"), "vcd,alpha=0.5+ritual"),
        (DecodingArm.parse("vdd,without=none/unk"), "vdd,without=none-unk-d00254"),
    ],
)
def test_names_of_folders_stay_the_same(arm: Arm | DecodingArm, folder: str) -> None:
    assert arm.slug == folder


def test_texts_that_read_alike_have_different_slugs() -> None:
    same = [slug(text, "cat.pt") for text in ("a/cat.pt", "b/cat.pt", "a:cat.pt")]
    assert len(set(same)) == 3
    assert all(name.startswith("cat.pt-") for name in same)
