"""Choosing and condensing what to train on."""
