"""Claims about decoding a vision-language model's replies."""
