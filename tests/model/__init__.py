"""The model: one grant in Promela, and SPIN, which looks at every order of events."""
