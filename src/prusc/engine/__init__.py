"""Shared by all stages: device and processes, batches, the training loop, BatchNorm, progress."""
