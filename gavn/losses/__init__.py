"""Losses, registered in the LOSS_REGISTRY of BasicSR."""
