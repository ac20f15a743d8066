"""Telling applications what happened: letters, signed and sent to webhooks."""
