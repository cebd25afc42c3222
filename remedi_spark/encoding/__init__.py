"""From the user's columns to the numbers that models read: the feature contract and the fitted encoder."""
