"""Parts of towers: blocks, attention, pooling, the places of pictures and the times of sequences."""
