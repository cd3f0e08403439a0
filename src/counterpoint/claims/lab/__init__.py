"""The laboratory: where a claim's experiment is carried out, and how its results are judged."""
