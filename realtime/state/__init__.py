"""State that processes share, behind one interface: in memory, or elsewhere."""
