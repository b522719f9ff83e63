"""What stands in for the spurious attribute that nobody labelled."""
