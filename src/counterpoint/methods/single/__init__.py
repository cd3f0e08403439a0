"""Methods of one loss on one pair of views."""
