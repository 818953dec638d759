"""What is pushed as it happens: the hub, its streams, and the two protocols."""
