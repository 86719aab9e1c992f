"""The AsyncAPI document of the socket's events: made from the namespaces as they run."""
