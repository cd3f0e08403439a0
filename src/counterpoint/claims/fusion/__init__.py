"""Claims about methods that mix or fuse modalities."""
