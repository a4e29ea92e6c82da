"""Windows over a clip, batching, threads, memory, atomic files."""
