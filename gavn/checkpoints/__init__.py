"""Weights on disk: safe loading, bundles, the pretrained weights, downloads."""
