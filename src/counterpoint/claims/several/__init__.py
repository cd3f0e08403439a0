"""Claims about training on three columns or more."""
