"""The tiny vision-language model: how it learns to see, to read and to answer."""
