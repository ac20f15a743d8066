"""PostgreSQL and Valkey from wheels, and the supervisor of `evergrant up`."""
