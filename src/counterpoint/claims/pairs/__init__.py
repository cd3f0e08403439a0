"""Claims about the choice and the weight of pairs: hard negatives, soft positives, bags, edits."""
