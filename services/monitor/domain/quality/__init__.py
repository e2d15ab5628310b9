"""How good answers are: measured on labels, estimated before they come, by slices, in business value."""
