"""Comparisons, tables, benchmarks and releases; nothing that restores or trains imports this."""
