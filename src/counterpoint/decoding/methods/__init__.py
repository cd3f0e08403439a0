"""Decoding methods, a file each; the file's name is the method's."""
