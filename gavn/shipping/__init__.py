"""How the weights that come with the package are bundled, measured and described."""
