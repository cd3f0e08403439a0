"""Methods of pictures alone, which also take a column of another kind by itself."""
