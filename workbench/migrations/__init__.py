"""The database schema's history.

A migration must let the last release go on beside it. What takes something away comes in three releases: one that adds
the new (and writes both), one that fills it in for old rows, one that drops the old. Each migration is one transaction
on both engines, and gives up a lock that it does not get within three seconds, to try again.
"""
