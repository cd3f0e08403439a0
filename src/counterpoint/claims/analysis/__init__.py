"""Claims of papers that explain or criticise: what a representation learns, and why."""
