"""Spark, the engine for many machines: its jars, its session, and statements run on it."""
