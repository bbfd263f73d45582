"""From a source's bytes to placed rows: inbox, decode, contract, place, write."""
