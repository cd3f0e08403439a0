"""Tasks for models that answer after examples: EvALign-ICL's axes."""
