"""The compiled counting: C sources, and beside them the library built from them."""
