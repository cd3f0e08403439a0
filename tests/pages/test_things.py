"""Examples of any modality as parts of a page."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.reading import sounds
from counterpoint.pages.things import thing
from counterpoint.raw import Waves


def test_an_example_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    play = sounds.play_sound

    def counted(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        return play(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sounds, "play_sound", counted)
    wave = Waves.of([np.sin(np.arange(800) / 5).astype(np.float32)], rate=8000)
    shown = thing("audio", wave[0])
    assert shown.sound is not None
    assert shown.sound.startswith("data:audio/wav;base64,")
    assert shown.picture is not None
    assert shown.picture.startswith("data:image/png;base64,")
    assert calls == 1
