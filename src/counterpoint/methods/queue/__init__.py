"""Methods against a slow copy's keys and a queue of earlier ones."""
