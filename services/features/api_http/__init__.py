"""The HTTP door: the command line and people."""
