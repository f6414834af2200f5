"""A gallery in a database of a PostgreSQL server."""
