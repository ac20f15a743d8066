"""Run a demo from its first step to the last, and leave nothing behind."""

from collections.abc import Sequence

from models.sealing.vault import Vault
from settings import current
from worker.demo import plan, result
from worker.demo.applications import Applications
from worker.demo.installation import installed
from worker.demo.plan import Plan
from worker.demo.preparations import prepare
from worker.demo.result import Result
from worker.demo.screen import Screen
from worker.demo.sides import Watcher
from worker.demo.story import Story
from worker.embedded.signals import Signals


def run(wanted: Plan, screen: Screen, *, commands: Sequence[str], keep: bool) -> Result:
    """Run it, show it on `screen`, and return what was counted. Call it from the main thread.

    Raises:
        Stopped: a signal came.
        NotReady: a part did not start, or a command failed.
        EmbeddedError: an engine did not start.

    """
    with Signals() as signals:
        screen.prepare("Starting PostgreSQL, Valkey and the simulated provider in a throw-away folder.")
        with installed(signals, keep=keep) as installation:
            screen.prepare(
                f"Giving {wanted.grants} grants whose access tokens live some 25 s to each side: Evergrant, and the"
                " job that most teams write (worker/demo/naive.py)."
            )
            screen.prepare(plan.WAITS_SENTENCE)
            if keep:
                screen.prepare(f"Everything lies, and stays, in {installation.home}.")
            wanted = prepare(installation, wanted)
            if wanted.pace > 1:
                screen.prepare(
                    f"This machine is busy: lives and story are stretched to {wanted.pace:.1f} times their length."
                )
            screen.follow(wanted)
            vault = Vault.from_settings(current())
            watcher = Watcher(installation.provider, vault)
            applications = Applications(installation.provider.url, vault, list(wanted.lives))
            with watcher, applications:
                screen.begin()
                installation.show = lambda: screen.show(watcher.samples)
                story = Story(installation, wanted, watcher, applications, screen.announce)
                story.tell()
                screen.announce("Counting, by what the provider's ledger says of the tokens that each side holds.")
                counted = result.count(story)
                screen.sample(watcher.samples)
            screen.announce("Stopping everything." if keep else "Stopping everything; nothing of it is left behind.")
    screen.conclude(counted, commands)
    return counted
