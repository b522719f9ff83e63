"""Whole tasks with a run folder: open it, go through the stages, resume, write what was found."""
