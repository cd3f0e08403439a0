"""Claims about alignment, uniformity and the gap between modalities."""
