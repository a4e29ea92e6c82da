"""Speed of networks, operators, training steps and the loader, beside the limits of the machine."""
