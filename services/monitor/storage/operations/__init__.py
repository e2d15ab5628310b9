"""What versions answered and how it ended, and verdicts on canaries."""
