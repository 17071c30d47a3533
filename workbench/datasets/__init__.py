"""Datasets: immutable, versioned tables of prompt/completion rows, from an uploaded file to what a job trains on."""
