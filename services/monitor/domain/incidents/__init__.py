"""What is found in the whole fleet, controlled for false discoveries, and kept until it is over."""
