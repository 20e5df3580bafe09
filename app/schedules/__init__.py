"""At a time: schedules, and the journal of their fires."""
