"""Tasks that tell what was learned instead of what was meant."""
