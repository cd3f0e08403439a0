"""The few kinds of plots that diagnostics are drawn with, as matplotlib figures in the colours of the reports."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

INK, SOFT, GRID = "#1a1d21", "#565d66", "#e6e9ed"
COLOURS = ("#1668b0", "#b65200", "#00806a", "#a3307e", "#73641a", "#5a48b5", "#7a4a2b", "#4c5661")

_VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--grid"}
_VARIABLES |= {colour: f"--c{k}" for k, colour in enumerate(COLOURS)}
STYLE = {
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": GRID,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}

_LEGEND, _LABEL = 66, 32
"""Characters that fit above a figure, and beside one."""

Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""x and y."""


def lines(
    curves: Mapping[str, Curve], *, x: str, y: str, log: bool = False, ticks: Sequence[str] = ()
) -> Figure:
    """Draw a curve for each name.

    Args:
        curves: up to eight; a name that ends in ``"at the start"`` is drawn dashed, in the last curve's colour.
        x, y: what the axes are.
        log: whether x is logarithmic.
        ticks: names of the positions 0, 1, … on x.
    """
    figure, axes = _empty(x, y)
    with mpl.rc_context(STYLE):
        colour = -1
        for name, (across, up) in curves.items():
            dashed = name.endswith("at the start")
            colour += not dashed or colour < 0
            axes.plot(
                across,
                up,
                "o--" if dashed else "o-",
                color=COLOURS[colour % 8],
                markersize=4 if len(across) <= 30 else 0,
                label=name,
            )
        if log:
            axes.set_xscale("log")
        if ticks:
            many = len(ticks) > 6
            axes.set_xticks(
                range(len(ticks)), ticks, rotation=45 if many else 0, ha="right" if many else "center"
            )
        _name_above(axes, list(curves))
    return figure


def bars(values: Mapping[str, float], *, x: str) -> Figure:
    """Draw a bar for each name, from top to bottom, with its value."""
    figure, axes = _empty(x, "", height=0.8 + 0.32 * len(values))
    with mpl.rc_context(STYLE):
        names = list(values)
        drawn = axes.barh(names, list(values.values()), color=COLOURS[0], height=0.6)
        texts = [f"{value:.3g}".replace("-", "−") for value in values.values()]
        axes.bar_label(drawn, texts, padding=3, color=INK)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color=SOFT, linewidth=1)
    return figure


def histograms(groups: Mapping[str, Float[np.ndarray, " _"]], *, x: str) -> Figure:
    """Draw the spread of the values of each group, on the same bins."""
    figure, axes = _empty(x, "share")
    with mpl.rc_context(STYLE):
        finite = np.concatenate([np.ravel(v)[np.isfinite(np.ravel(v))] for v in groups.values()])
        edges = np.histogram_bin_edges(finite, bins=40)
        for k, (name, values) in enumerate(groups.items()):
            weights = np.full(np.size(values), 1 / max(np.size(values), 1))
            axes.hist(
                np.ravel(values), edges.tolist(), weights=weights, color=COLOURS[k], alpha=0.55, label=name
            )
        _name_above(axes, list(groups))
    return figure


def scatter(groups: Mapping[str, Float[np.ndarray, "_ 2"]], *, x: str, y: str, equal: bool = False) -> Figure:
    """Draw a dot for each row of each group; ``equal``: both axes on one scale around a cross at 0."""
    figure, axes = _empty(x, y, height=3.4 if equal else 2.8)
    with mpl.rc_context(STYLE):
        for k, (name, points) in enumerate(groups.items()):
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=22 if equal else 9,
                color=COLOURS[k % 8],
                alpha=0.75,
                linewidths=0,
                label=name,
            )
        if equal:
            reach = 1.1 * max((float(np.abs(p).max()) for p in groups.values() if p.size), default=1.0) or 1.0
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.axhline(0, color=SOFT, linewidth=1)
            axes.axvline(0, color=SOFT, linewidth=1)
        if len(groups) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def heat(matrix: Float[np.ndarray, "rows columns"], rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw a matrix of values up to 1, dark for 1 and light for 0 and below, each written into its cell."""
    side = 0.9 + 0.42 * len(columns)
    figure, axes = _empty("", "", width=side + 1.2, height=0.9 + 0.36 * len(rows))
    with mpl.rc_context(STYLE):
        axes.imshow(
            matrix,
            cmap=_shades(),
            vmin=0,
            vmax=1,
            aspect="auto",
        )
        axes.grid(visible=False)
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        for i, j in np.ndindex(matrix.shape):
            if np.isfinite(matrix[i, j]):
                dark = matrix[i, j] > 0.55
                # Not INK: the cells keep their colours on a dark page, and so must what is written in them.
                axes.text(
                    j,
                    i,
                    _cell(float(matrix[i, j])),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if dark else "black",
                )
    return figure


def contours(at: Float[np.ndarray, " n"], values: Float[np.ndarray, "n n"], *, x: str, y: str) -> Figure:
    """Draw up to nine lines of equal value over a square, each with its value, and a cross in the middle.

    Lines are denser near the lowest value.

    Args:
        at: positions along both axes.
        values: ``[i, j]`` at ``(at[i], at[j])``; where they are not finite nothing is drawn.
        x, y: what the axes are.
    """
    figure, axes = _empty(x, y, height=3.4)
    with mpl.rc_context(STYLE):
        shown = np.ma.masked_invalid(values.T)
        low, high = float(shown.min()), float(shown.max())
        steps = low + (high - low) * np.linspace(0, 1, 10)[1:] ** 2
        if high > low:
            drawn = axes.contour(at, at, shown, levels=steps, colors=COLOURS[0], linewidths=1.2)
            axes.clabel(drawn, fmt=lambda value: f"{value:.3g}".replace("-", "−"), fontsize=7, colors=INK)
        axes.plot([0], [0], "+", color=COLOURS[1], markersize=9)
        axes.set(aspect="equal")
        axes.grid(visible=False)
    return figure


def gallery(rows: Sequence[Sequence[np.ndarray]], columns: Sequence[str]) -> Figure:
    """Draw pictures in rows under headings: ``(H, W, 3)`` in colour, ``(h, w)`` as a map, dark for its highest."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.0 * len(columns), 0.3 + 1.0 * len(rows)), layout="constrained")
        grid: Sequence[Sequence[Axes]] = figure.subplots(len(rows), len(columns), squeeze=False).tolist()
        for i, j in np.ndindex(len(rows), len(columns)):
            axes, picture = grid[i][j], rows[i][j]
            if picture.ndim == 3:
                axes.imshow(picture, interpolation="none")
            else:
                axes.imshow(picture, cmap=_shades(), vmin=0, interpolation="none")
            axes.axis("off")
            if not i:
                axes.set_title(columns[j], fontsize=9)
    return figure


def class_colours(names: Sequence[str]) -> Float[np.ndarray, "C 3"]:
    """Return a colour for each class of maps; that of the background is grey, and colours repeat after sixty.

    >>> class_colours(["background", "a cat", "a dog"]).shape
    (3, 3)
    """
    listed = [mpl.colormaps[name](range(20))[:, :3] for name in ("tab20", "tab20b", "tab20c")]
    palette, position = np.concatenate(listed), iter(range(len(names)))
    grey = mpl.colors.to_rgb(GRID)
    return np.array(
        [grey if name == "background" else palette[next(position) % len(palette)] for name in names]
    )


def class_legend(figure: Figure, names: Sequence[str], shown: Sequence[int], columns: int) -> None:
    """Name the colours of some classes below a figure, in lines of ``columns`` names."""
    colours = class_colours(names)
    patches = [Patch(color=tuple(colours[k]), label=names[k]) for k in shown]
    with mpl.rc_context(STYLE):
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=7)


def svg(figure: Figure, name: str) -> str:
    """Write a figure as SVG to stand in a page: its colours are the page's variables, its ids begin with ``name``.

    >>> "var(--c0)" in svg(bars({"a": 1.0}, x="count"), "example")
    True
    """
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = re.sub(re.escape(colour), f"var({variable})", text, flags=re.IGNORECASE)
    return text


def _name_above(axes: Axes, names: Sequence[str]) -> None:
    # A legend inside the axes looks for the emptiest place, which takes seconds beside many bars and can cover some.
    if len(names) < 2:
        return
    fitting = max(1, _LEGEND // (6 + max(map(len, names))))
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(len(names), 4, fitting), handlelength=3
    )


def _shades() -> mpl.colors.Colormap:
    return mpl.colors.LinearSegmentedColormap.from_list("", ["#eef3f8", COLOURS[0]])


def _cell(value: float) -> str:
    """Write two decimals without the zero before them.

    >>> _cell(0.25), _cell(-0.031), _cell(0.999)
    ('.25', '−.03', '1')
    """
    if value >= 0.995:
        return "1"
    return f"{'−' if round(value, 2) < 0 else ''}{abs(value):.2f}".replace("0.", ".", 1)


def _empty(x: str, y: str, width: float = 5.6, height: float = 2.8) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlabel=x, ylabel=textwrap.fill(y, _LABEL))
        axes.tick_params(length=0)
    return figure, axes
