"""Is there a shortcut: tests of the clusters on held-out samples."""
