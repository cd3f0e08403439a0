"""State beside weights: slow copies, queues of keys, what is known of each item."""
