"""Methods that learn tags, of which several may apply to an example."""
