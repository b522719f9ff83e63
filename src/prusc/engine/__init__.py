"""What every stage works with: the device, the training loop, BatchNorm, progress."""
