"""Claims about two towers trained on pairs: losses, recipes and their scale."""
