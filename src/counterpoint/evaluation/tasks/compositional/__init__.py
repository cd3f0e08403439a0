"""Tasks that ask for more than a bag of words."""
