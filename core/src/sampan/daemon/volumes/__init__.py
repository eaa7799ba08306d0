"""Volumes: kept, mounted, and their jobs."""
