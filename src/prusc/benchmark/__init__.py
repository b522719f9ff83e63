"""Benchmarks: a matrix of methods, data, networks and seeds, in which all methods run under equal conditions.

Each name is imported once it is used; where it comes from stands in __init__.pyi.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
