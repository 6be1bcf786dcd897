"""Pixels in, vectors out. Knows no disk format of the index and no search."""
