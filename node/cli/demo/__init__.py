"""`enlace demo`: three countries on this machine, and a tour."""
