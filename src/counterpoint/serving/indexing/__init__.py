"""An index of vectors: its places, queries and conditions."""
