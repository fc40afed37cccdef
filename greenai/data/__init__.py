"""Tables of factors, every row with its source, year and licence."""
