"""Looks into programs: graphs, instructions and machine code as text."""
