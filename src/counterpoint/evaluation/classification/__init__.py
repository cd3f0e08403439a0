"""Tasks that name a picture's label, without training, by a probe or under a shift."""
