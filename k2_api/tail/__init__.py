"""The Kafka tail: rows that no table has yet."""
