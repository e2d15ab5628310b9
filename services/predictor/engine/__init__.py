"""From verified bundle bytes to something that answers."""
