"""Read-only reports about containers and the engine."""
