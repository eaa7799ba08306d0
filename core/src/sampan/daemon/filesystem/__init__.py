"""A container's files: what is mounted where, and the ways to read, write and preserve them."""
