"""What starts a materialization, and when."""
