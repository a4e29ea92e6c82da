"""The command `gavn`: one module per verb."""
