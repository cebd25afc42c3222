"""The guide's arithmetic on a block of owners, in numpy: no Spark here."""
