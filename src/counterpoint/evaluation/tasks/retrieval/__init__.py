"""Tasks that rank: pairs, and pictures of one label."""
