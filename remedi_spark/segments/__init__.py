"""Few-shot models of new segments: ``remedi adapt``."""
