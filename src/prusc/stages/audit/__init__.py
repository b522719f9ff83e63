"""The audit for shortcuts: tests of the clusters on held-out samples."""
