"""The tables: catalog, definitions, fenced commits, scans, engines and the SQL.

Knows nothing of Kafka, Dagster or HTTP.
"""
