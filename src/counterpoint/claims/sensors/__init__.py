"""Claims of papers on sensors: several devices at once, and long recordings."""
