"""Methods that take more than two columns."""
