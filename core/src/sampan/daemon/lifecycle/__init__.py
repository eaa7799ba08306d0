"""The life cycle of a container: create, start, pause, stop, restart, remove."""
