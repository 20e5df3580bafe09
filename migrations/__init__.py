"""The database's history, one file a feature. A package, so that it travels in the wheel."""
