"""`gavn bench`: how fast the networks, their parts, training and the loader are on this machine."""
def add_arguments(parser):
    """Nothing yet."""
