"""The other door: workers that drain what is due, one short file a feature."""
