"""Examples: each is a story told through the platform's public doors."""
