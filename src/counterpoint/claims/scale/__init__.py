"""Claims about large batches: their memory, their gradients, their negatives."""
