"""Kinds of index, a file each: ways to find the vectors nearest to others."""
