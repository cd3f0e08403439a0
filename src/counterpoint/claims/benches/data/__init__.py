"""Data of benches: rows, pictures and texts that several claims share."""
