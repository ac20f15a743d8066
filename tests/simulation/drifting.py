"""A provider that changes in mid-run: its rotation, or the life of its access tokens."""

from collections.abc import Callable

from tests.simulation.episode import Episode


def changes(
    after: float, *, profile: str = "", life: float | None = None, tells: set[str]
) -> Callable[[Episode], None]:
    """Let the provider change `after` so many seconds; from then on these kinds of drift may be told."""

    def begin(episode: Episode) -> None:
        def change() -> None:
            episode.world.log("the provider changes", profile, life)
            episode.judge.changed |= tells
            if profile:
                episode.judge.may_lose = True  # what our client does not know yet may cost a grant
                episode.provider.change_habits(profile=profile)
            if life is not None:
                episode.provider.change_life(life, of_all=True)

        episode.world.after(after, change)

    return begin
