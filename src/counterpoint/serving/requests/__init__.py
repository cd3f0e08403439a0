"""Requests: their forms, limits, rights and refusals."""
