"""Training and testing several methods at an equal budget: `gavn compare`."""
