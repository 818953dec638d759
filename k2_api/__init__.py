"""REST over the lake. It reads tables and starts nothing."""
