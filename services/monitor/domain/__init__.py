"""The rules of monitoring: what is stored, how drift and quality are judged, how it is said."""
