"""Reports of runs and audits, comparison pages, figures and model cards, made from run folders alone.

Each name is imported once it is used, because pages need Plotly, Jinja and scikit-learn; where it comes from stands in
__init__.pyi.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
