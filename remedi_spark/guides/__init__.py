"""The guide: which items (categories, products, segments) to show each owner next."""
