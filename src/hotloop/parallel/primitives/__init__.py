"""What each primitive does with abstract values."""
