"""What a run keeps of single samples for its report: predictions, pictures, a map, where networks look."""
