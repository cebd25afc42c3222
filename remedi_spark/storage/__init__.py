"""Tables, files of a bundle, and the ledger of what has been done."""
