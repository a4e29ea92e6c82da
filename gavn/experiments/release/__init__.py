"""Preparation of a release: pretrained weights, their figures and cards, and the degradation classifier."""
