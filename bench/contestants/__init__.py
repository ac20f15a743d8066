"""Who is measured side by side: each does the same refresh, for the same grants, against the same provider."""
