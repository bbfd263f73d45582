"""The demonstration city: seeded, synthetic, and good enough to work on."""
