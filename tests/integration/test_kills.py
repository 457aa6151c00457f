# SPDX-License-Identifier: MIT
"""moonsinterd is killed, at random moments and fifty times: every update ends equal, and hardly anything is fetched twice."""
import os
import time

import pytest

import images
import programs
from conditions import armed, installed
from releases import make_release


@pytest.mark.slow
def test_kill_9_at_50_random_moments(nginx, debian_images, folder, loops, make_daemon):
    """Each update is killed at random moments within a little more than its usual length; then it has to end equal,
    with no more fetched than its plan and 8 MiB for each kill."""
    import random
    source = random.Random(os.environ.get("MOONSINTER_TEST_SEED", "50 kills"))
    made = [make_release(folder / str(number), path, version=str(number), serial=number)
            for number, path in enumerate(debian_images[:2], 1)]
    size = max(os.path.getsize(path) for path in made) + (1 << 20)
    slots = [loops.attach(size) for _ in range(2)]
    url = nginx.publish(made[0])
    backing = [loops.backing(slot) for slot in slots]

    def blank(number):
        """A daemon of its own, its running slot A holding release 1 or nothing, slot B nothing."""
        for path, keep in ((backing[0], number % 2), (backing[1], 0)):
            os.truncate(path, 0)
            os.truncate(path, size)
        if number % 2:
            with open(made[0], "rb") as image, open(slots[0], "wb") as slot:
                while block := image.read(1 << 20):
                    slot.write(block)
                os.fsync(slot.fileno())
        nginx.publish(made[number % 2])
        nginx.wait_for_silence()
        nginx.forget()
        return make_daemon(url, slots, mode="check")

    # How long each kind of update takes undisturbed, and what it plans.
    cycles, plans = {}, {}
    for kind in (0, 1):
        daemon = blank(kind).start()
        daemon.wait(lambda status: status["state"] == "held", "the first look")
        daemon.post("check")
        programs.wait_until(lambda: daemon.request("GET", "/v1/plan")[0] == 200, "there is a plan")
        plans[kind] = daemon.request("GET", "/v1/plan")[1]["bytes_to_download"]
        begin = time.monotonic()
        daemon.post("install")
        daemon.wait(armed(str(kind + 1), "b"), "the undisturbed update")
        cycles[kind] = time.monotonic() - begin
        daemon.close()
        assert images.starts_with(backing[1], made[kind])

    kills = number = 0
    while kills < 50:
        kind = number % 2
        daemon = blank(kind)
        number += 1
        killed = 0
        for _ in range(source.randrange(1, 5)):
            daemon.settings["Update"]["Mode"] = "install"
            daemon.write_config()
            daemon.start(wait=False)
            time.sleep(source.uniform(0, 1.1 * cycles[kind] + 0.1))
            assert daemon.process.poll() is None, daemon.log
            daemon.kill()
            killed += 1
        daemon.start()
        # It is done when slot B was verified, armed, and (as a kill may have come later) perhaps booted.
        daemon.wait(installed(str(kind + 1), "b"), f"update {number} ends", timeout=60)
        daemon.stop()
        assert images.starts_with(backing[1], made[kind]), f"after {killed} kills, seed {source}"
        nginx.wait_for_silence()
        fetched = nginx.sent("/image") + nginx.sent("/image.chunks")
        assert fetched <= plans[kind] + killed * (8 << 20), f"update {number}, {killed} kills: {fetched} of {plans[kind]}"
        kills += killed
        daemon.close()
    print(f"{kills} kills in {number} updates")
