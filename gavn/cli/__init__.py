"""The command `gavn`: one module a verb."""
