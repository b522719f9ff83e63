from . import modularity as modularity
