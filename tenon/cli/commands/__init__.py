"""One module per group of commands; `tenon.cli.main` imports a module when one of its commands is called."""
