"""Policies of the Dockerfiles: what every image promises, read from the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILES = sorted(
    [*ROOT.glob("services/*/Dockerfile"), ROOT / "cli" / "Dockerfile", ROOT / "tests/emulators/Dockerfile"]
)
SERVICES = {"ingest", "persistor", "trainer", "serving", "gateway"}
BUILDKIT_ONLY = ("# syntax", "RUN --", "COPY --link", "COPY --chmod", "<<")
"""What the classic builder does not know."""
INSTALLS = re.compile(r"\b(pip|apt-get|install-\w+)\b")
SCRIPTS = [
    ROOT / "containers/image" / name for name in ("build-numpy", "install-dependencies", "install-code")
]


def instructions(file: Path) -> list[tuple[str, str]]:
    """Each instruction with its arguments, continued lines joined, comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(parts[0], parts[2]) for line in joined.splitlines() if (parts := line.strip().partition(" "))[0]]


def last_stage(file: Path) -> list[tuple[str, str]]:
    found = instructions(file)
    start = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def only(stage: list[tuple[str, str]], name: str) -> str:
    (found,) = [arguments for each, arguments in stage if each == name]
    return found


def test_every_service_has_one() -> None:
    assert {file.parent.name for file in DOCKERFILES} >= SERVICES


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: str(file.parent.name))
class TestEveryDockerfile:
    def test_builds_in_stages_of_which_the_last_installs_nothing(self, file: Path) -> None:
        stages = [arguments for name, arguments in instructions(file) if name == "FROM"]
        runs = [arguments for name, arguments in last_stage(file) if name == "RUN"]

        assert len(stages) >= 2
        assert not [run for run in runs if INSTALLS.search(run) or re.search(r"\b(npm|curl|wget)\b", run)]

    def test_runs_as_a_user_with_a_number_who_is_not_root(self, file: Path) -> None:
        user = only(last_stage(file), "USER")

        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes cannot tell whether a name is root"

    def test_gets_signals_and_says_whether_it_is_well(self, file: Path) -> None:
        stage = last_stage(file)

        assert only(stage, "ENTRYPOINT").startswith("["), "a shell would keep the signals"
        assert only(stage, "STOPSIGNAL") in {"SIGTERM", "SIGINT"}
        health = only(stage, "HEALTHCHECK")
        assert "CMD [" in health or (health == "NONE" and file.parent.name == "cli")

    def test_says_what_it_is(self, file: Path) -> None:
        labels = only(last_stage(file), "LABEL")

        for name in ("title", "description", "version", "revision"):
            assert f"org.opencontainers.image.{name}=" in labels

    def test_is_pinned_and_names_no_machine(self, file: Path) -> None:
        text = file.read_text()

        assert ":latest" not in text
        assert not re.search(r"index-url|trusted-host|https?://", text)
        for name, arguments in instructions(file):
            if re.search(r"\bpip .*install", arguments):
                assert name == "RUN"
                assert "--constraint requirements/constraints.txt" in arguments
        bases = [arguments.split()[0] for name, arguments in instructions(file) if name == "FROM"]
        stages = [arguments.split()[-1] for name, arguments in instructions(file) if name == "FROM"]
        defaults = dict(
            arguments.split("=", 1)
            for name, arguments in instructions(file)
            if name == "ARG" and "=" in arguments
        )
        for base in bases:
            if base not in stages:
                variable = re.findall(r"\$\{(\w+)", base)[-1]
                assert re.search(r":\S+\d", defaults[variable]), f"{base} has no version"

    def test_needs_no_particular_builder(self, file: Path) -> None:
        for mark in BUILDKIT_ONLY:
            assert mark not in file.read_text()

    def test_puts_what_changes_seldom_first(self, file: Path) -> None:
        names = instructions(file)
        install = next(
            at for at, (name, arguments) in enumerate(names) if INSTALLS.search(arguments) and name == "RUN"
        )
        before = [arguments for name, arguments in names[:install] if name == "COPY"]

        assert all(
            "pyproject.toml" in each or "requirements" in each or "containers/" in each for each in before
        )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.name))
def test_what_images_share_is_pinned_and_ends_at_the_first_failure(script: Path) -> None:
    text = script.read_text()
    installs = re.findall(r"^.*\bpip .*\binstall .*$", text, re.M)

    assert "set -eu" in text
    assert script.stat().st_mode & 0o111
    assert installs
    for line in installs:
        # Our own wheels have no version to pin, and no index to come from.
        assert "--constraint requirements/constraints.txt" in line or "--no-index" in line


def test_the_context_holds_no_tests_no_secrets_no_history() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*", "what is not named is left out"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {
        "containers",
        "libs",
        "services",
        "cli",
        "models",
        "requirements",
        "tests",
        "tests/emulators",
    }
    assert "tests/*" in rules
