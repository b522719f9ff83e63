"""The methods that are compared, PruSC among them: one file each, one contract, equal terms.

Each name is imported when it is first used; ``__init__.pyi`` lists where it comes from.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
