"""Methods that compare the places of a picture with its caption."""
