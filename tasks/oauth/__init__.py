"""The protocol: requests, answers and the sending. No SQL, no Celery in here."""
