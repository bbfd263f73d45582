"""HTTP, live streams and pages: the doors through which people and programs read the city."""
