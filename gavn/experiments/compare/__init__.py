"""Training and testing several methods at an equal budget: `scripts/compare.py`."""
