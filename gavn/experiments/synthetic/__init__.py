"""Synthetic talking heads, with voices and exact landmarks, for the demo and the tests."""
