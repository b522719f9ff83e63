"""Judges score the candidates, and the choice follows from their scores."""
