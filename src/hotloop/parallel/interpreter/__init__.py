"""Functions read as source and evaluated on abstract values: steps, and the bodies of sweeps, come of it."""
