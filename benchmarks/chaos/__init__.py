"""Killed anywhere, as often as one likes: what the tables hold is what Kafka was given."""
