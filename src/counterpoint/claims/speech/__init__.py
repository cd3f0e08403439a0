"""Claims about speech."""
