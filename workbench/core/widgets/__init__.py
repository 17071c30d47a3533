"""Widgets that panels are made of: a Python class, a plain ES module and a style sheet each. They know no slice."""
