"""Typed topics: records in Avro, for consumers outside K2."""
