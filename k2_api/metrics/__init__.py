"""What Prometheus reads from the API."""
