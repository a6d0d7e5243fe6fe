"""Sweeps over indices: joined, planned, and written as code on vectors of lanes or element by element."""
