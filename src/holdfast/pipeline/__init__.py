"""The road as one thing: what would run and why, and running it."""
