"""What the tests run against: a control plane, nodes without machines, and the commands that people use."""
