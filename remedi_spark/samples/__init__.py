"""From any table to checked and encoded rows: schema, checks, encoder, folds and hold-out."""
