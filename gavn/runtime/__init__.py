"""Windows over a clip, batching, threads, memory, whole files."""
