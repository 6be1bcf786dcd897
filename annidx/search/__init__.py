"""Vectors in, matches out. Knows no pixels, and no files but the graph's own."""
