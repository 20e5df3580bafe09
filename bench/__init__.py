"""Measurements of the relay beside baselines that run in the same minutes: `make bench`."""
