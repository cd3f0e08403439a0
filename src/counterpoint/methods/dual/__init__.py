"""Methods of two towers and one loss between them."""
