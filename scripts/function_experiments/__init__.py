"""The experiments of Csordas et al. 2021 (arXiv:2010.02066): data, networks and measurements."""
