"""Where the registry keeps things: tables, and bundles in the blob store."""
