"""Tasks about speech."""
