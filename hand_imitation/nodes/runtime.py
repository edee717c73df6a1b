"""How every node's process starts, spins and ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from hand_imitation.environment import PARENT_VARIABLE
from hand_imitation.errors import EXIT_BAD_INPUT, EXIT_FAILED, UserError

# Several threads hand one frame on to each other, and each may have to wait this long for the
# interpreter lock. Python's default is 5 ms.
_SWITCH_INTERVAL_S = 0.0005


def run(
    makers: Sequence[Callable[[], Node]], args: list[str] | None = None,
    done: Callable[[Sequence[Node]], bool] | None = None,
) -> int:
    """Run nodes in this process until a signal, each with an executor and thread of its own.

    Ctrl-C under `ros2 launch` arrives twice, from the terminal and from launch; both are taken
    by a handler that only asks the loop to end, so that neither can cut the clean-up short.

    Args:
        makers: Functions that make the nodes. A node may have a `make_safe()` to call as soon as
            the run is to end, and a `close()` to call at the end.
        args: Command line, for ROS; None takes the process's own.
        done: Called with the nodes several times a second; True ends the run.

    Returns:
        Exit code: 0, 2 where the user must mend something, or 3 where a node broke.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stop, broken = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[Node] = []
    threads: list[threading.Thread] = []
    try:
        for make in makers:
            nodes.append(make())
            threads.append(threading.Thread(
                target=_spin, args=(nodes[-1], stop, broken), name=nodes[-1].get_name()))
            threads[-1].start()
        # What was made so far stays: looking through it for garbage again and again would stop
        # all threads for tens of milliseconds.
        gc.collect()
        gc.freeze()
        while not stop.wait(0.1) and not _is_orphan():
            if done is not None and done(nodes):
                break
        return EXIT_FAILED if broken.is_set() else 0
    except UserError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    finally:
        stop.set()
        _make_safe(nodes)
        for thread in threads:
            thread.join(timeout=5.0)
        while nodes:
            _close(nodes.pop())
        # The state machine of a lifecycle node is freed with the object only, and without that
        # Fast DDS leaves its shared memory behind.
        gc.unfreeze()
        gc.collect()
        rclpy.try_shutdown()


def main_of(
    makers: Sequence[Callable[[], Node]],
    done: Callable[[Sequence[Node]], bool] | None = None,
) -> None:
    """Run nodes as a program.

    Args:
        makers: As in `run`.
        done: As in `run`.
    """
    code = run(makers, done=done)
    sys.stdout.flush()
    sys.stderr.flush()
    # Native threads of MediaPipe and PyBullet may still hold on; everything of ours is closed.
    os._exit(code)


def _spin(node: Node, stop: threading.Event, broken: threading.Event) -> None:
    """Spin a node until it is time to stop; a node that breaks ends its process, with a word."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
    except Exception as error:  # whatever it is, the arm must not go on without this node
        if not stop.is_set():
            node.get_logger().fatal(f'{type(error).__name__}: {error}')
            broken.set()
            stop.set()
            raise
    finally:
        executor.remove_node(node)
        # Left to the garbage collector, it would be taken apart after ROS is.
        executor.shutdown(timeout_sec=1.0)


def _is_orphan() -> bool:
    """Tell whether the program that started this process, and would end it, is gone."""
    parent = os.environ.get(PARENT_VARIABLE)
    return parent is not None and os.getppid() != int(parent)


def _nothing() -> None:
    """Stand in for what a node does not have."""


def _make_safe(nodes: Sequence[Node]) -> None:
    """Let every node do what cannot wait. A function, so that no variable keeps a node alive."""
    for node in nodes:
        getattr(node, 'make_safe', _nothing)()


def _close(node: Node) -> None:
    close = getattr(node, 'close', None)
    if close is not None:
        close()
    node.destroy_node()
