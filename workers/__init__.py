"""The other door: drains what is due."""
