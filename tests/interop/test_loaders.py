"""What the classes of libraries state, which is read from their source."""

from __future__ import annotations

import pytest

from counterpoint.interop._loader import TowerLoader
from counterpoint.interop._packaged import packages
from counterpoint.modalities import LIBRARIES, MODALITIES, library_modalities
from counterpoint.networks import TOWERS
from counterpoint.networks.libraries import library_of, modalities_of
from counterpoint.networks.weights import TowerSource


def test_what_a_class_states_is_what_its_source_says() -> None:
    classes = [LIBRARIES.get(name) for name in LIBRARIES.names()]
    libraries = {kind.library: kind for kind in classes if issubclass(kind, TowerLoader)}
    assert {library: kind.modalities for library, kind in libraries.items()} == library_modalities()
    for library, kind in libraries.items():
        assert isinstance(library_of(TowerSource(library, "any", None)), kind)
        assert set(kind.modalities) <= set(MODALITIES.names())
        assert all(f"{library}:NAME" in MODALITIES.get(it).tower_names for it in kind.modalities)


def test_models_in_packages_are_towers() -> None:
    assert {f"{model.library}:{name}@package" for name, model in packages().items()} <= set(TOWERS)


def test_a_library_that_is_not_known_is_none() -> None:
    assert library_of(TowerSource.parse("tim:resnet18")) is None
    assert library_of(TowerSource.parse("cnn")) is None


@pytest.mark.parametrize(
    ("tower", "modalities"),
    [
        ("timm:resnet18", ("image",)),
        ("open_clip:ViT-B-32", ("image", "text")),
        ("transformers:bert", ("text",)),
        ("sentence-transformers:any", ("text",)),
        ("fracast:fracast-0", ("series",)),
        ("tim:resnet18", ()),
    ],
)
def test_a_name_of_a_tower_alone_says_what_it_embeds(tower: str, modalities: tuple[str, ...]) -> None:
    assert modalities_of(tower) == modalities
