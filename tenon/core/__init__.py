"""The common language of Tenon: pure Python, no input or output."""
