"""What every slice stands on: settings, errors, database, routes, HTTP client, event feed, lineage, texts, widgets."""
