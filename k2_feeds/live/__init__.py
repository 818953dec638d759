"""Live feeds: sessions with the exchanges, endless."""
