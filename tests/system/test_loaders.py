"""Machines that really boot, by each loader: an update over the network."""
import pytest

from devices import GrubDevice, TrybootDevice, UbootDevice, is_settled

# GRUB is in the share that every change has to pass, the others are in the full run.
LOADERS = [pytest.param(GrubDevice, id="grub"), *(
    pytest.param(kind, id=kind.backend, marks=pytest.mark.full) for kind in (UbootDevice, TrybootDevice))]


@pytest.fixture
def device(request, guest, installed, folder, nginx, make_machine):
    return request.param(folder, guest, installed, nginx, make_machine)


@pytest.mark.parametrize("device", LOADERS, indirect=True)
def test_install_over_the_network(device):
    device.start()
    device.publish(2)
    device.check()
    device.expect_start("b")
    device.expect_up(2, "b")
    status = device.machine.wait_status(is_settled(2, "b"), "release 2 is marked good")
    assert status["boot"]["next"] == "b" and not status["boot"]["trial"]
    # Marked good means that it is what starts from now on, whatever ends it.
    device.machine.cut()
    device.machine.start()
    device.expect_start("b")
    device.expect_up(2, "b")
