"""The relay: an HTTP door in front of Postgres, one folder a feature."""
