"""How an answer looks: models, problems, formats."""
