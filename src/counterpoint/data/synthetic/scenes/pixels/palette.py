"""Colours that emoji may be said to have as artists drew them, so that "a red guitar" is not asked to be false."""

from __future__ import annotations

from ..scene import Colour

_LISTED: dict[Colour, str] = {
    "red": "apple, strawberry, mushroom, car, bus, bicycle, helicopter, rocket, train, truck, telephone, guitar, drum, "
    "scarf, backpack, rose, balloon, ring",
    "orange": "cat, dog, tiger, snail, carrot, hamburger, doughnut, sailboat, key, hammer, pencil, trumpet, violin, "
    "bell, tulip, sunflower, candle, crown, box",
    "yellow": "cat, snail, snake, banana, pear, lemon, pineapple, doughnut, helicopter, pencil, broom, trumpet, bell, "
    "hat, tree, cactus, sunflower, chair, crown, mirror",
    "green": "turtle, snake, pear, pineapple, tractor, tree, palm, cactus, tulip, rose, sunflower",
    "blue": "fish, snail, whale, butterfly, sailboat, rocket, laptop, umbrella, anchor, shirt, dress, bed, television, "
    "teapot, kite, window, mirror",
    "purple": "umbrella, hat, kite",
    "pink": "pig, snail, mushroom, tulip, kite",
    "brown": "dog, horse, cow, duck, snail, monkey, banana, pineapple, hamburger, doughnut, key, broom, violin, "
    "backpack, palm, sunflower, chair, bed, teddy bear, window, box, mirror",
    "grey": "rabbit, elephant, fish, whale, butterfly, mushroom, bus, sailboat, helicopter, rocket, train, hammer, "
    "broom, camera, laptop, umbrella, anchor, shirt, dress, bed, television, teapot, kite, window, mirror",
}
"""Concepts of which a fifth of the pixels or so, in either artist's drawing, is nearest to that dye in CIE Lab."""
_OF: dict[str, frozenset[Colour]] = {}
for _colour, _concepts in _LISTED.items():
    for _concept in _concepts.split(", "):
        _OF[_concept] = _OF.get(_concept, frozenset()) | {_colour}


def palette(concept: str) -> frozenset[Colour]:
    """Return colours that a thing of this concept may be said to have where it is not dyed.

    >>> sorted(palette("rose"))
    ['green', 'red']
    """
    return _OF.get(concept, frozenset())
