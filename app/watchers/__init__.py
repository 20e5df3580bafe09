"""When something changes elsewhere: one watcher a source, however many want to know."""
