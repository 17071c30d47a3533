"""Evaluation: generation and scoring on a held-out split, and the comparison of two models."""
