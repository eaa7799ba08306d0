"""The jobs for images and registries."""
