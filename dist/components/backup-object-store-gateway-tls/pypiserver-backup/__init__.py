"""What keeps copies of a package volume elsewhere, brings them back, and tries whether it could."""
