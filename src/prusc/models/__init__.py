"""Networks: build them by name, load their weights, find their head, call them."""
