"""What the C kernels share: how they are built, and the part of Python's stable ABI that they use."""
