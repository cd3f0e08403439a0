"""Pictures from their bytes to pixels: decoded, drawn, kept, compared and shown."""
