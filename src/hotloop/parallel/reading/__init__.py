"""Reading the source of functions: their syntax trees, and exceptions that point at them."""
