"""Claims about contrast between views of pictures alone."""
