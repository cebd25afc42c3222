"""A trained bundle at work: batches, the table ``scores``, reasons and monitoring."""
