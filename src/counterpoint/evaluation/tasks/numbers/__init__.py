"""Tasks about numbers that examples have."""
