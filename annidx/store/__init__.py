"""What lies on disk. Knows no pixels and no search; pyarrow stays in here."""
