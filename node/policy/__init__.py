"""What may leave the country, decided by pure functions over facts: no I/O, no clock, no logging."""
