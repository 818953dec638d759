"""The transformations, as SQL that DuckDB and Spark both run, digit for digit."""
