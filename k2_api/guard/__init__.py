"""Who may ask, how much, and what is switched off when something fails."""
