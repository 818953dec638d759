"""The vocabulary of K2: frames, trades, candles, instruments, timeframes, rules and errors.

Nothing here does I/O. Every other package imports from this one; it imports none of them.
"""
