"""Build time only: operation rows -> C -> objects -> neutral stencils. Nothing in hotloop imports it."""
