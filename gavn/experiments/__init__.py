"""Experiments: comparisons, tables, benchmarks, releases, synthetic heads. No product code imports it."""
