"""Model files: one writer and reader a format."""
