"""The tests of Tenon; the folders mirror the map in docs."""
