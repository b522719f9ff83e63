"""The theory: each file is a stage, in the order of docs/concepts/stages.md.

``modularity`` is the second use of the masks. It is reached as ``prusc.modularity`` and imported once it is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
