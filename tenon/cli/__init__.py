"""The `tenon` command: talks to the services as any client would, and `tenon up` runs them all.

Nothing heavy is imported before the arguments are parsed: `main` knows each command by name and help line only, and a
command's module is imported when it is called. `client` is the only place that speaks HTTP, `output` the only one that
renders.
"""
