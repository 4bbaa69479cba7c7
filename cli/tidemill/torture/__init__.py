"""A platform of its own, ill-treated on purpose, and a ledger that shows what it lost: nothing."""
