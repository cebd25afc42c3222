"""What depends on the kind of label: target, link, weights, alignment and measures."""
