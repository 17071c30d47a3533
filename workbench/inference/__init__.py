"""Load a model, render its template, generate and score. This slice knows no database; `template` and `weights` need no torch."""
