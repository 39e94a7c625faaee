"""Where the packages are kept: one module a storage mode."""
