"""What the chain does per second, measured on the machine at hand: ``python -m benchmarks``."""
