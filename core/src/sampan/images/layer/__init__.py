"""Layers: reading, unpacking and writing the tars that an image is made of.

`unpack.unpack` is the way in for the store. The other modules run in a process of their own (`worker`), which is
started for every layer: so this file, and they, import little.
"""
