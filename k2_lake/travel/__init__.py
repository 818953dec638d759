"""The tables as they were: states with names, differences, the way back, and a candle's origin."""
