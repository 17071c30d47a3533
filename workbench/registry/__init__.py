"""Models and their versions, and where each came from."""
