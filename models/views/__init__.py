"""Views: what people and applications read; nothing here changes a row."""
