"""Backends: from a Program to something that runs."""
