"""Whole tasks with a run folder: run the stages in order, resume, and write the results."""
