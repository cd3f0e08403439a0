"""A small run on files."""

from fixtures.runs import pairs, recipe, what

__all__ = ["pairs", "recipe", "what"]
