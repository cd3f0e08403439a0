"""Data that lies in shards: an index of it, and rows that are read from their shards when they come."""
