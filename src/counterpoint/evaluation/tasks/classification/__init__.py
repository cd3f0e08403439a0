"""Tasks that name a picture's label: without training, by a probe, under a shift, after questions."""
