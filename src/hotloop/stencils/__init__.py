"""Stencil libraries: their format, and finding the one for a machine."""
