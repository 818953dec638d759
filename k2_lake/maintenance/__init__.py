"""Maintenance: files and snapshots change, rows do not.

Compaction makes few files of many, expiry forgets old snapshots, and what no kept snapshot reaches
is deleted. Consumers see nothing of it.
"""
