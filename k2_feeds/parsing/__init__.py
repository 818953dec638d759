"""Frames to rows of records: exact, or refused with the reason."""
