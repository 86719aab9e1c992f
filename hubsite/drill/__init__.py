"""The security drill: a hostile client against a running hub, and the matrix of what held."""
