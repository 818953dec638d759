"""Everything up to and including Kafka: what exchanges send, what it means, how it gets there."""
