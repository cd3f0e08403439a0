"""Tasks that ask where in a picture a phrase belongs."""
