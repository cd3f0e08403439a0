from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from counterpoint.diagnostics import plots


def figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    return {
        "lines": plots.lines(
            {"a": ([1, 2], [3, 4]), "at the start": ([1, 2], [2, 2])}, x="x", y="y", log=True
        ),
        "ticks": plots.lines({"a": (range(9), range(9))}, x="x", y="y", ticks=[str(k) for k in range(9)]),
        "bars": plots.bars({"one": 1.0, "two": -0.5}, x="count"),
        "histograms": plots.histograms({"a": rng.random(50), "b": rng.random(20)}, x="value"),
        "scatter": plots.scatter(
            {"a": rng.random((5, 2)), "b": rng.random((5, 2))}, x="x", y="y", equal=True
        ),
        "heat": plots.heat(np.array([[1.0, 0.25], [np.nan, 0.0]]), ["r", "s"], ["c", "d"]),
        "contours": plots.contours(
            np.linspace(-1, 1, 5), np.hypot(*np.mgrid[-1:1:5j, -1:1:5j]), x="first", y="second"
        ),
        "gallery": plots.gallery(
            [[rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), rng.random((3, 3))]], ["picture", "map"]
        ),
    }


@pytest.mark.parametrize("name", list(figures()))
def test_svg_stands_alone_in_the_colours_of_the_page(name: str) -> None:
    text = plots.svg(figures()[name], name)
    ElementTree.fromstring(text)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not any(colour in text for colour in (*plots.COLOURS, plots.INK, plots.SOFT))
    assert "var(--" in text
    assert text == plots.svg(figures()[name], name)


def test_ids_of_two_figures_on_a_page_differ() -> None:
    both = [set(re.findall(r'clipPath id="([^"]+)"', plots.svg(figures()["lines"], n))) for n in ("a", "b")]
    assert both[0]
    assert not both[0] & both[1]


def test_what_is_drawn_is_what_was_given() -> None:
    axes = figures()["lines"].axes[0]
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3, 4], [2, 2]]
    assert axes.lines[0].get_color() == axes.lines[1].get_color()
    assert axes.lines[1].get_linestyle() == "--"
    bars = figures()["bars"].axes[0]
    assert [patch.get_width() for patch in bars.patches] == [1.0, -0.5]
    assert "−0.5" in [text.get_text() for text in bars.texts]
    cells = [text.get_text() for text in figures()["heat"].axes[0].texts]
    assert cells == ["1", ".25", ".00"]


def test_cells_keep_their_sign() -> None:
    axes = plots.heat(np.array([[-0.05, -0.001]]), ["r"], ["c", "d"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["−.05", ".00"]


def test_contours_are_of_values_are_finite_and_plain_has_none() -> None:
    at = np.linspace(-1, 1, 5)
    values = np.add.outer(at**2, 2 * at**2)
    values[0, 0] = np.inf
    levels = plots.contours(at, values, x="x", y="y").axes[0].collections[0].levels
    assert levels.min() > 0
    assert levels.max() == pytest.approx(3)
    assert not plots.contours(at, np.ones((5, 5)), x="x", y="y").axes[0].collections


def test_a_gallery_has_pictures_in_rows_under_headings() -> None:
    rows = [[np.zeros((4, 4, 3), np.uint8), np.eye(2)] for _ in range(3)]
    axes = plots.gallery(rows, ["a", "b"]).axes
    assert [each.get_title() for each in axes] == ["a", "b", "", "", "", ""]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), np.eye(2))


@pytest.mark.parametrize("name", ["lines", "histograms", "scatter"])
def test_a_legend_covers_nothing_that_is_drawn(name: str) -> None:
    figure = figures()[name]
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert not axes.get_legend().get_window_extent().overlaps(axes.patch.get_window_extent())
