"""The jobs of images and registries."""
