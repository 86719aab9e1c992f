"""Floor 1: who may do what: tokens, keys, the gate, limits, violations and the audit trail."""
