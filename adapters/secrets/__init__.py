"""Provider keys at rest: sealed with a data key of the tenant's, which a key-encryption key wraps."""
