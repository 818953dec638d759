"""Whether the tables can be trusted: audits, gaps, conditions of days, comparison, freshness."""
