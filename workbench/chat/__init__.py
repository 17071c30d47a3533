"""Conversations with deployed models: completions, threads, settings, export."""
