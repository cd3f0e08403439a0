"""Methods with views of their own beside CLIP's pairs: global and local heads, and a cross-modal term."""
