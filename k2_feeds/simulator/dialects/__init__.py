"""What the exchanges' servers say, for the simulator: one dialect for each protocol."""
