"""What the command's exit code says."""

OK = 0
FINDINGS = 1
"""The command ran and the answer is no: refused, invalid, differences found, verdict bad."""
USAGE = 2
"""The command line itself is wrong."""
NOT_READY = 3
"""Something is not running, not reachable or not ready in time; asking again can help."""
INTERRUPTED = 130
