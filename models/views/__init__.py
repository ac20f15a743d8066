"""Views: what people and applications read, and what is told of it; no grant changes here."""
