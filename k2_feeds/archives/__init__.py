"""Trades out of files: vendors' dumps as rows of the raw topic, and those rows as trades.

``files`` opens and verifies, ``layouts`` knows the formats, ``archive`` makes frames of a file,
``envelope`` says what such a frame looks like, ``rows`` reads it back in the parser.
"""
