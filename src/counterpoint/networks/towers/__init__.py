"""Towers: built here, or read from other libraries, with their tokenizers and poolings."""
