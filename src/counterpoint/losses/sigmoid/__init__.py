"""Losses that judge every pair by itself."""
