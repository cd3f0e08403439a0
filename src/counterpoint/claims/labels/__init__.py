"""Claims about contrast with class labels."""
