"""OAuth: requests to a provider, its answers, and the sending. No SQL, no Celery in here."""
