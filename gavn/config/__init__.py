"""Option files: read, checked against a schema, printed."""
