"""Layers: reading, unpacking and writing the tars that an image consists of.

The store uses `unpack.unpack`. The other modules run in a separate process (`worker`), which is started for every
layer, so they and this file import little.
"""
