"""Where the service keeps things: its database, the lake it reads, Redis, files of training sets."""
