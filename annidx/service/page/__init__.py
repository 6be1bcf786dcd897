"""The review page: near-duplicates side by side, decided about and cleared up, in a browser."""
