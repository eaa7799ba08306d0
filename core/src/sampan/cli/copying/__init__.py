"""`sampan cp`: packing and unpacking of local trees, and the names of copies."""
