"""`sampan cp`: local trees as tars and back, and which name a copy gets."""
