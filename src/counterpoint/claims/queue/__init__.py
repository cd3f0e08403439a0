"""Claims about queues of keys and momentum encoders."""
