"""Of a process: what it is."""

from models.states.word import Word


class ProcessKind(Word):
    """Which part of the service a process is."""

    BEAT = "beat", "it claims what is due"
    WORKER = "worker", "it talks to the providers"
    WEB = "web", "it hands out tokens over HTTP, and serves metrics"
