"""Methods of texts alone."""
