"""What the API does under load: how fast, how fresh, how little one client can do to another."""
