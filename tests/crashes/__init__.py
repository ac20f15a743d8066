"""The crash loop: real processes struck at every step, and the provider asked what was lost."""
