"""Shared test support for drivers and the engine: in-memory drivers, conformance suites, leak checks.

`sampan.testing.plugin` is a pytest plugin; see the plugin author's guide.
"""
