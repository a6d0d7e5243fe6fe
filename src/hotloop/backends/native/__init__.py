"""The native backend: a Program becomes machine code by copying stencils and filling their holes."""
