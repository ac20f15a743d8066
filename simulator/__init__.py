"""The bundled provider: an authorization server with faults and a ledger, over HTTP. A stand-in for development."""
