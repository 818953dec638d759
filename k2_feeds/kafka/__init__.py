"""Frames into Kafka and back out by offset."""
