"""`python -m tests.model`: have SPIN look at every order of events of one grant, and at every known wrong design.

    python -m tests.model                                         all profiles, then all wrong designs
    python -m tests.model --profile on_use                        one profile, in every weather
    python -m tests.model --profile on_use --weather revocation   and in one
    python -m tests.model --mutant no_lease_check                 one wrong design, and the way to what it violates
    python -m tests.model --list

Needs spin and gcc, which Evergrant needs for nothing else. What is modelled: docs/explanation/model.md.
Exit code 1 if a property is violated that must hold, or one holds that must be violated; 2 if nothing can be said.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

from tests.model.catalogue import MUTANTS, OPEN, PROFILES, WEATHERS, Mutant
from tests.model.spin import Broken, Found, Missing, search

DESIGNS = {each.name: each for each in (*MUTANTS, *OPEN)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _options(arguments)
    if options.list:
        return _list()
    try:
        if options.mutant:
            return _one(DESIGNS[options.mutant])
        wrong = list(_profiles(options.profile, options.weather))
        if not (options.profile or options.weather):
            wrong += _designs("mutant", MUTANTS)
            wrong += _designs("open", OPEN)
    except (Missing, Broken) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _tell("\nas it must be" if not wrong else f"\nnot as it must be: {', '.join(wrong)}")
    return 1 if wrong else 0


def _profiles(profile: str | None, weather: str | None) -> Iterator[str]:
    """Check what must hold; gives what does not."""
    _tell("| profile | weather | pairs | states | s | MB | |\n| --- | --- | --: | --: | --: | --: | --- |")
    for name in [profile] if profile else PROFILES:
        for each in [WEATHERS[weather]] if weather else WEATHERS.values():
            pairs = each.pairs_at_grace if name == "grace" else each.pairs
            found = search(each.switches_at(name), progress=each.progress)
            _tell(f"| {name} | {each.name} | {pairs} | {_figures(found)} | {_holds(found)} |")
            if found.violated:
                _tell_story(found)
                yield f"{name} in {each.name}"


def _designs(kind: str, designs: Sequence[Mutant]) -> Iterator[str]:
    """Check what must be violated; gives what is not, or otherwise than expected."""
    _tell(f"\n| {kind} | what it is | profile | violates | states | s |\n| --- | --- | --- | --- | --: | --: |")
    for each in designs:
        found = search(each.switches, progress=WEATHERS[each.weather].progress)
        end = f"`{found.violated}`" if found.violated else "**nothing**"
        _tell(f"| `{each.name}` | {each.what} | {each.profile} | {end} | {found.states:,} | {found.seconds:.1f} |")
        if found.violated != each.seen_by:
            yield each.name


def _one(design: Mutant) -> int:
    found = search(design.switches, progress=WEATHERS[design.weather].progress, shortest=True)
    _tell(f"{design.name}: {design.what}\nswitches: {' '.join(design.switches)}\n")
    _tell_story(found)
    return 0 if found.violated else 1  # the shortest way may violate another property than the first one found


def _tell_story(found: Found) -> None:
    for number, step in enumerate(found.story, 1):
        _tell(f"{number:>5}  {step}")
    _tell(f"       violated: {found.violated or 'nothing'}")


def _figures(found: Found) -> str:
    return f"{found.states:,} | {found.seconds:.1f} | {found.megabytes:.0f}"


def _holds(found: Found) -> str:
    return f"**violated: {found.violated}**" if found.violated else "holds"


def _list() -> int:
    for title, designs in (("mutants", MUTANTS), ("open", OPEN)):
        _tell(f"{title}:")
        for each in designs:
            _tell(f"  {each.name:<46} {each.what}")
    _tell(f"profiles: {', '.join(PROFILES)}\nweathers: {', '.join(WEATHERS)}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=description)
    parser.add_argument("--profile", choices=PROFILES, help="only this rotation profile, and no wrong designs")
    parser.add_argument("--weather", choices=sorted(WEATHERS), help="only what happens in this weather")
    parser.add_argument("--mutant", choices=sorted(DESIGNS), metavar="NAME", help="one wrong design, and its trail")
    parser.add_argument("--list", action="store_true", help="name them and run nothing")
    return parser.parse_args(arguments)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
