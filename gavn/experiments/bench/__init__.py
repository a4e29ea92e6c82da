"""How fast networks, operators, training steps and the loader are, and what the machine could do at most."""
