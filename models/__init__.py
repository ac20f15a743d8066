"""What is true: the tables, and the statements that change them. Imports nothing of ours but settings."""
