"""Classifiers of frozen features, learning curves of them, and scores of rankings of labels."""
