"""The trainer's tables: revisions of Model documents, and the runs."""
