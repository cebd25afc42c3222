"""What each scoring run looks like against training, and how past scores turned out."""
