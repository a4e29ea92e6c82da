"""One visit to a GPU: its tests, the benchmark's goals, and a training that ends on time."""
