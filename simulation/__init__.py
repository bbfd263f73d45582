"""Models of the city: each reads a View and writes a branch."""
