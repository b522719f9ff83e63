"""Networks: build them by name, load their weights, find their heads and call them."""
