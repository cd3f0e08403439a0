"""Studies of training: runs, what they cost, searches, and how they are carried out."""
