"""HTTP: an application over open indexes. No logic of its own; what it answers, the API answers."""
