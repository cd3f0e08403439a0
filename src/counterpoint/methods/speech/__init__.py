"""Methods of speech: frames and tokens, masked frames."""
