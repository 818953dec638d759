"""The web page, and the files that a browser is given of it."""
