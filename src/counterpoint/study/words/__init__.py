"""Sentences and tables that say what a study found."""
