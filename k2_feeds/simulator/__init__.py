"""Simulated exchanges: a server that speaks their protocols, and does wrong on request."""
