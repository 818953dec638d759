"""How a question is answered from the tables."""
