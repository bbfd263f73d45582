"""What the city knows: contracts, tables, and the doors every read goes through."""
