"""Layout: which things a scene has, and where they lie."""
