"""Claims about what to train on: pairs that are chosen, captions that are cut, pictures that are condensed."""
