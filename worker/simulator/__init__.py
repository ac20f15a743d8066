"""The bundled provider: an authorization server with faults and a ledger, over real HTTP. A stand-in for development."""
