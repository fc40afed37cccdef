"""The command line's commands, each in a module, and what they share."""
