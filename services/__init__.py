"""The six services of Tenon. None of them imports another."""
