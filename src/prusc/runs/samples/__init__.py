"""The record of single samples that a run keeps for its report: predictions, pictures, a map and attention."""
