"""What tests of drivers and of the engine share: in-memory drivers, conformance suites, leak checks.

`sampan.testing.plugin` is a pytest plugin; see the plugin author's guide.
"""
