"""What runs images: the runner in this process, and the protocol of runners elsewhere."""
