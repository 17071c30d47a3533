"""Looks after the database: its state, backups, drills, restores, and the move from SQLite to PostgreSQL."""
