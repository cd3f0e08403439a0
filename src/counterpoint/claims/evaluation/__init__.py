"""Claims about benchmarks and about ways to measure."""
