"""Pages: examples as a reader sees and hears them, each page one file without scripts that needs no network."""
