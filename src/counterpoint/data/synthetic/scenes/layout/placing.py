"""Places of things: side by side without overlap, or one inside or behind another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....rng import Rng
from ..config import SIDES, grid
from ..scene import UNIT, Size

Point = tuple[int, int]
_TRIES = 12
_HIDING = (24, 27)
"""Distance of two things of which one hides a part of the other, in hundredths of the sum of their sides."""
_SLOPE = 12


@dataclass(frozen=True, slots=True)
class PlacedGroup:
    """Things that stand together.

    Attributes:
        side: of the square around them, an even number.
        members: their centres from the middle of that square.
    """

    side: int
    members: tuple[Point, ...] = ((0, 0),)


def inside(draws: Rng, outer: int, inner: int) -> PlacedGroup:
    """Place a thing around the middle of another."""
    most = (outer - inner) // 8
    x, y = (draws.integer(f"inside {axis}", -most, most) for axis in "xy")
    return PlacedGroup(outer, ((0, 0), (x, y)))


def behind(draws: Rng, back: int, front: int) -> PlacedGroup:
    """Place a thing behind another one that hides a part of it; the thing behind comes first."""
    both = back + front
    apart = both * draws.integer("behind across", *_HIDING) // 100
    apart = max(apart, (back - front) // 2 + front // 4)  # the front one stands out, or it would be inside
    x = apart * draws.choice("behind side", (-1, 1))
    y = both * draws.integer("behind down", -_SLOPE, _SLOPE) // 100
    left, right = min(-back // 2, x - front // 2), max(back // 2, x + front // 2)
    top, bottom = min(-back // 2, y - front // 2), max(back // 2, y + front // 2)
    side = max(right - left, bottom - top)
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    return PlacedGroup(side + 2 + side % 2, ((-middle_x, -middle_y), (x - middle_x, y - middle_y)))


def fits_behind(size: Size, cell: int) -> bool:
    """Return whether two things of a size (or less), one behind the other, fit into a cell whatever is drawn."""
    longest = SIDES[size][1]
    return longest + 2 * longest * _HIDING[1] // 100 + 4 <= cell


def centres(draws: Rng, units: Sequence[PlacedGroup], order: tuple[int, int] | None) -> list[Point]:
    """Return the centre of each member of each unit, in order.

    Places are drawn at random, and again where they overlap; where that goes on for too long, from the cells of
    a grid, so that there always is an answer.

    Args:
        draws: of the scene.
        units: what is to be placed; each fits into a cell of the smallest square grid that has a cell for each.
        order: the first two units stand beside (0) or above each other (1), plainly; and which of them comes
            first from the left or from the top.
    """
    sides = [unit.side for unit in units]
    centres = _at_random(draws, sides, order) or _in_a_grid(draws, sides, order)
    return [(x + dx, y + dy) for (x, y), unit in zip(centres, units, strict=True) for dx, dy in unit.members]


def _at_random(draws: Rng, sides: Sequence[int], order: tuple[int, int] | None) -> list[Point] | None:
    centres = [] if order is None else _pair_centres(draws, sides, *order)
    for i in range(len(centres), len(sides)):
        half = sides[i] // 2
        for attempt in range(_TRIES):
            x = draws.integer(f"x {i} {attempt}", half, UNIT - half)
            y = draws.integer(f"y {i} {attempt}", half, UNIT - half)
            if all(
                2 * max(abs(x - x_), abs(y - y_)) >= sides[i] + sides[j] for j, (x_, y_) in enumerate(centres)
            ):
                centres.append((x, y))
                break
        else:
            return None
    return centres


def _pair_centres(draws: Rng, sides: Sequence[int], along: int, nearer: int) -> list[Point]:
    """Place two things, one after the other along an axis, their offset across it the smaller one."""
    near, far = sides[nearer], sides[1 - nearer]
    slack = UNIT - near - far
    first, second = sorted(draws.integer(f"gap {i}", 0, slack) for i in range(2))
    start, end = first + near // 2, near + second + far // 2
    most = end - start - 1
    across = draws.integer("across near", near // 2, UNIT - near // 2)
    low, high = max(far // 2, across - most), min(UNIT - far // 2, across + most)
    points = [(start, across), (end, draws.integer("across far", low, high))]
    if along == 1:
        points = [(x, y) for y, x in points]
    return points if nearer == 0 else points[::-1]


def _in_a_grid(draws: Rng, sides: Sequence[int], order: tuple[int, int] | None) -> list[Point]:
    columns, cell = grid(len(sides))
    left = [(column, row) for column in range(columns) for row in range(columns)]
    centres: list[Point] = []
    if order is not None:
        along, nearer = order
        line = draws.integer("line", 0, columns - 1)
        ends = sorted(draws.sample("ends", range(columns), 2))
        widest = max(sides[:2])
        level = line * cell + draws.integer("level", widest // 2, cell - widest // 2)
        for i in range(2):
            end = ends[0 if i == nearer else 1]
            centre = end * cell + draws.integer(f"cell {i}", sides[i] // 2, cell - sides[i] // 2)
            centres.append((centre, level) if along == 0 else (level, centre))
            left.remove((end, line) if along == 0 else (line, end))
    for i, corner in enumerate(draws.sample("cells", left, len(sides) - len(centres)), len(centres)):
        half = sides[i] // 2
        x, y = (
            at * cell + draws.integer(f"cell {i} {axis}", half, cell - half)
            for at, axis in zip(corner, "xy", strict=True)
        )
        centres.append((x, y))
    return centres
