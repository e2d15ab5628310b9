"""Who is told of incidents, and how."""
