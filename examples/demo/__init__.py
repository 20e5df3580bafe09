"""The main job, done live: `make demo`."""
