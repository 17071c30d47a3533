"""Datasets: immutable, versioned rows of any common format, from an uploaded file to what a job trains on."""
