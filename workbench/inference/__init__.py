"""Load a model, render its template, generate and score. Knows no database; `template` and `weights` need no torch."""
