"""Parts of the tasks for models that answer in words: asking, reading replies, rating, examples in context."""
