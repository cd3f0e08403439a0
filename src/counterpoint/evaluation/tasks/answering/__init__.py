"""Tasks for models that answer in words."""
