"""A process has one of each thing, made once, and a forked child makes its own."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from security.process import PerProcess

FORK = """
import os
from security.process import PerProcess

thing = PerProcess(object)
parents = thing()
thing._lock.acquire()  # as by a thread that does not survive the fork
child = os.fork()
if child == 0:
    os._exit(0 if thing() is not parents and thing() is thing() else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert thing() is parents
"""


def test_racing_threads_get_the_same_one() -> None:
    barrier = threading.Barrier(16)
    thing = PerProcess(object)

    def race() -> object:
        barrier.wait()
        return thing()

    with ThreadPoolExecutor(16) as threads:
        got = [each.result() for each in [threads.submit(race) for _ in range(16)]]
    assert all(each is got[0] for each in got)


def test_what_was_taken_is_not_given_again() -> None:
    thing = PerProcess(object)
    assert thing.take() is None
    first = thing()
    assert thing.take() is first
    assert thing() is not first


def test_a_forked_child_makes_its_own_even_if_the_lock_was_held() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=20)
