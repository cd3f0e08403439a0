"""Towers of other libraries: read with their weights, their tokenizers and their ways of preparing pictures."""
