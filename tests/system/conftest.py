# SPDX-License-Identifier: MIT
"""Fixtures: those of the integration tests that serve here too, and the guests' tree. Everything here starts systems of its
own and needs root."""
import importlib.util
import pathlib
import sys

import pytest

INTEGRATION = pathlib.Path(__file__).resolve().parents[1] / "integration"
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(INTEGRATION)]

import guest_tree  # noqa: E402
import machine  # noqa: E402
import namespaces  # noqa: E402

_spec = importlib.util.spec_from_file_location("integration_conftest", INTEGRATION / "conftest.py")
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
pytest_sessionstart = _shared.pytest_sessionstart
pytest_runtest_makereport = _shared.pytest_runtest_makereport
folder, nginx, make_nginx, loops = _shared.folder, _shared.nginx, _shared.make_nginx, _shared.loops


def pytest_configure(config):
    _shared.pytest_configure(config)
    config.addinivalue_line("markers", "full: not in the share that every change has to pass")
    config.addinivalue_line("markers", "namespaces: systemd in namespaces, without a machine; seconds")


@pytest.fixture(scope="session")
def guest():
    """The tree that all systems are made from."""
    try:
        return guest_tree.guest_tree()
    except guest_tree.MissingTool as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def installed(guest, tmp_path_factory):
    """A folder with our programs as they are installed, to be laid over the tree."""
    destination = tmp_path_factory.mktemp("installed")
    guest_tree.install_programs(destination)
    return destination


@pytest.fixture
def make_namespaces(folder):
    """make_namespaces(lower, ...) gives a namespaces.Namespaces that is stopped at the end."""
    made = []

    class Careful(namespaces.Namespaces):
        def start(self, *arguments, **options):
            try:
                return super().start(*arguments, **options)
            except namespaces.Unavailable as error:
                pytest.skip(str(error))

    def make(*arguments, **options):
        made.append(Careful(folder / f"system-{len(made)}", *arguments, **options))
        return made[-1]
    yield make
    for system in made:
        system.stop()


@pytest.fixture
def make_machine(folder):
    """make_machine(arguments, ...) gives a machine.Machine, whose plug is pulled at the end."""
    made = []

    def make(*arguments, kind=machine.Machine, **options):
        made.append(kind(folder / f"machine-{len(made)}", *arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.cut()


class Bench:
    """Machines of one kind, of which one goes from test to test as long as they pass: a machine has a long life, and its
    image and disk cost more than many a test."""

    def __init__(self, kind, guest, installed):
        self.kind, self.guest, self.installed = kind, guest, installed
        self.folder = self.nginx = self.device = None
        self.machines = []

    def make_machine(self, *arguments, kind=machine.Machine, **options):
        # Two processors save a second of a boot on a quiet host; on a busy one they wait for each other, and it takes 44 seconds
        # of processor time instead of 27.
        self.machines.append(kind(self.folder / f"machine-{len(self.machines)}", *arguments, processors=1, **options))
        return self.machines[-1]

    def take(self):
        """A device that runs a good release and has nothing to do."""
        if not self.folder:
            self.folder = _shared.make_folder()
            self.nginx = _shared.web.Nginx(self.folder / "nginx")
            # It looks at the server at each start, without delay: what it does after a fall-back, it does by itself.
            self.device = self.kind(self.folder, self.guest, self.installed, self.nginx, self.make_machine,
                                    update_keys="RandomizedDelay=0\n")
            self.device.publish_running()
            self.device.start()
            self.device.machine.wait_status(lambda status: status["state"] == "idle" and
                                            (status["last_check"] or {}).get("result") == "up-to-date", "it has looked")
        return self.device

    def clear(self, failed=False):
        """Ends it, so that the next one is new."""
        for one in self.machines:
            one.cut()
        if self.nginx:
            self.nginx.stop()
        if self.folder:
            _shared.clear_folder(self.folder, failed)
        self.folder = self.nginx = self.device = None
        self.machines = []


@pytest.fixture(scope="module")
def bench(request, guest, installed):
    """For a kind of device, which the test names as its parameter."""
    made = Bench(request.param, guest, installed)
    yield made
    made.clear()


@pytest.fixture
def device(request, bench):
    """One that earlier tests may have used; it runs a good release (`slot`, `version`), and nothing is under way."""
    try:
        yield bench.take()
    finally:
        if _shared.has_failed(request.node):
            bench.clear(failed=True)
