"""Find the subnetwork of a trained classifier that does not use the shortcut, without group labels."""

from importlib.metadata import version

__version__ = version("prusc")
