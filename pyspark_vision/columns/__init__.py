"""How a Column is made: the UDF wrapper, type checks, names, options."""
