"""Pseudo-attributes: stand-ins for the spurious attribute, which has no labels."""
