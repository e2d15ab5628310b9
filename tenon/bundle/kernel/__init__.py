"""The compiled evaluator: C sources, and how they are built. `tenon.bundle.compiled` loads what was built."""
