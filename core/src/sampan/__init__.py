"""sampan: a container engine whose drivers are pip packages."""

__version__ = "0.1.0"
