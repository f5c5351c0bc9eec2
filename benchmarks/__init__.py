"""What the sign-in takes beside the least that it could, and how it stands up to a crowd. `make bench` runs it."""
