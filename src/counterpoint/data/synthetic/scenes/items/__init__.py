"""Items: what is asked about scenes, and the true answers."""
