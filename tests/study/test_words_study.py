"""A study of methods that teach a painter new words, from the painter of the package to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.study.training.study import compare
from counterpoint.training.start import load


@pytest.mark.slow
def test_words_are_learned_compared_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    study = compare(
        "kind,prompt=a <rabbit>",
        "textual-inversion,prompt=a <rabbit>",
        folder=tmp_path / "study",
        data="scenes:subjects,concepts=rabbit+bus,validation=8,test=8",
        recipe=override(load_recipe("words"), {"steps": 2, "validate_every": 2}),
        from_="tiny-painter",
        seeds=2,
        tasks=("drawn,pictures=0",),
        jobs=1,
    )
    winner = study.summary.winner
    assert winner.command == f"counterpoint draw --model {winner.folder} --prompt PROMPT"
    assert load(Path(winner.folder)).words == ("<rabbit>",)
    assert "leak" in {difference.metric for difference in study.summary.differences}
