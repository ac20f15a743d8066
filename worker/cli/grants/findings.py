"""What is told of each finding of `grants probe`."""

from tasks.policy.life import Finding
from worker.cli.failures import ExitCode

TOLD = {
    Finding.ALIVE: "lives",
    Finding.DEAD: "is dead, or another client's",
    Finding.REFRESHED: "lives; the provider refreshed it, and the new token set is stored",
    Finding.MISCONFIGURED: "could not be looked at: the provider refuses this client's credentials",
    Finding.UNCLEAR: "could not be looked at: the provider gave no answer that says anything",
    Finding.BUSY: "is not active, under way or held back: nothing was sent",
}
EXIT_CODES = {
    Finding.DEAD: ExitCode.HUMAN,
    Finding.MISCONFIGURED: ExitCode.FAILED,
    Finding.UNCLEAR: ExitCode.TRY_AGAIN,
    Finding.BUSY: ExitCode.TRY_AGAIN,
}
