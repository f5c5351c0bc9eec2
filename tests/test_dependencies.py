"""What is installed: one version of everything, with its hashes, and the same for tests as for production."""

import re
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.apps import ROOT


def locked(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Every package of a lock file, with its hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        requirement = Requirement(line.partition("--hash")[0].strip())
        found[canonicalize_name(requirement.name)] = (requirement, re.findall(r"--hash=(\S+)", line))
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_one_version_with_its_hashes_and_the_one_that_runs(name: str) -> None:
    """No range, no address, no other index; what pyproject.toml asks for is in it, and what is installed is it."""
    packages = locked(name)
    assert len(packages) >= 20
    for package, (requirement, hashes) in packages.items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], package
        assert requirement.url is None
        assert hashes, package
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), package
        if name == "requirements-dev.txt" and (requirement.marker is None or requirement.marker.evaluate()):
            assert requirement.specifier.contains(version(package)), package
    assert not re.search("https?://|--index|--extra-index|--find-links|-e ", (ROOT / name).read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    if name == "requirements-dev.txt":
        wanted += project["optional-dependencies"]["dev"]
    for text in wanted:
        requirement = Requirement(text)
        pinned = packages[canonicalize_name(requirement.name)][0]
        assert all(requirement.specifier.contains(specifier.version) for specifier in pinned.specifier), text


def test_tests_run_what_production_runs() -> None:
    """Whatever both lock files name, they name in the same version; and hashes are demanded when installing."""
    real, dev = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: str(real[name][0].specifier) for name in real} == {name: str(dev[name][0].specifier) for name in real}
    assert "--require-hashes" in (ROOT / "Makefile").read_text()


def test_what_only_the_benchmark_needs_is_locked_and_none_of_the_products() -> None:
    peers, text = locked("benchmarks/requirements.txt"), (ROOT / "benchmarks" / "requirements.txt").read_text()
    assert all(hashes and requirement.url is None for requirement, hashes in peers.values())
    assert not re.search("https?://|--index|--extra-index|--find-links|-e ", text)
    wanted = {canonicalize_name(name) for name in (ROOT / "benchmarks" / "requirements.in").read_text().split()}
    assert wanted <= set(peers)
    of_their_own = {"flask-security-too", "flask-sqlalchemy", "pygal"}
    assert of_their_own <= wanted
    assert of_their_own.isdisjoint(locked("requirements.txt") | locked("requirements-dev.txt"))
    both = locked("requirements.txt").keys() & peers
    assert {name: str(peers[name][0].specifier) for name in both} == {
        name: str(locked("requirements.txt")[name][0].specifier) for name in both
    }, "both sides run the same"
