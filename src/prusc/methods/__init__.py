"""The remedies, PruSC among them, each in a file of its own: one contract, equal terms.

Each name is imported once it is used; where it comes from stands in __init__.pyi.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
