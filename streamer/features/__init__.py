"""Feature history: per symbol the last rows of a stream, kept beside the archive so that an engine can start warm."""
