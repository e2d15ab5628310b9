"""The compiled sliding windows: C sources, built by `tenon.native.build`. `tenon.windows.program` loads what was built."""
