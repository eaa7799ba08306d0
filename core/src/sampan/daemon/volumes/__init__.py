"""Volumes: their storage, mounts, and jobs."""
