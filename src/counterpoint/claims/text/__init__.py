"""Claims about contrast between sentences."""
