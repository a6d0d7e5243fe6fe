"""Reverse-mode derivatives of procedures."""
