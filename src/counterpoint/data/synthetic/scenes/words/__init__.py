"""Words: what is said of scenes in four languages, and what it means."""
