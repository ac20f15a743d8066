"""The words that columns hold and commands show: enumerations, each word with what it means. Imports nothing."""
