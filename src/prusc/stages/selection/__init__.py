"""Who judges candidates, and what is chosen."""
