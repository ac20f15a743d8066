"""The bundled provider: an authorization server with faults, over real HTTP, for development and CI.

It imitates measured servers, misbehaves when told to, and keeps a ledger that judges whoever uses it. Nothing in here
imports the service; its tokens open nothing.
"""
