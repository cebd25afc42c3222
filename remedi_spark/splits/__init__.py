"""Who is trained on, who is held out, and in which fold: by owner, by hash, the same on every cluster."""
