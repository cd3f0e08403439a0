"""Losses between bags: words and regions, instances of one example."""
