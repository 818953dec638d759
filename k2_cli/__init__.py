"""The command ``k2``: one file per family of commands, and no rules of its own."""
