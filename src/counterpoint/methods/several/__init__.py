"""Methods of three columns or more."""
