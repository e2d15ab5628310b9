"""The prediction log: rows come in, are read, move into the lake, and are forgotten."""
