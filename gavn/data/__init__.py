"""Data sets, their folder and its preparation, degradations."""
