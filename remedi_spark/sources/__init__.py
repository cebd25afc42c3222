"""Tables that come from outside: the roles of their columns, and the checks before anything is written."""
