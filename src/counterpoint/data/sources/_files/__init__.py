"""Files wherever they lie: by what users write for them, by their bytes, by their lines."""
