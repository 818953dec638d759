"""Days of growing size, on both engines: ``python -m benchmarks.scale``."""
