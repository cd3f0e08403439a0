"""Embeddings of the rows of data, written part by part."""
