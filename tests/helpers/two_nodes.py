"""Two network namespaces that stand for two machines with a shared disk; Linux, as root."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SETTINGS = {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1'}


def _ip(*arguments: str) -> str:
    return subprocess.run(['ip', *arguments], check=True, text=True, capture_output=True).stdout


class Node:
    """One of two machines: a network namespace with one end of a cable.

    Args:
        number: 0 or 1. Node 0 hosts the rendezvous.
    """

    def __init__(self, number: int) -> None:
        self.number, self.address = number, f'10.213.0.{number + 1}'
        self.name, self.device = f'gavn{os.getpid()}n{number}', f'gavn{number}'
        self.agent: subprocess.Popen | None = None

    def torchrun(self, log: Path, *arguments: str, **environment: str) -> None:
        """Starts torchrun for two nodes with one process each; output is appended to `log`."""
        command = ['ip', 'netns', 'exec', self.name, sys.executable, '-m', 'torch.distributed.run',
                   '--nnodes', '2', '--nproc-per-node', '1', '--max-restarts', '3', '--rdzv-backend', 'c10d',
                   '--rdzv-endpoint', '10.213.0.1:29400', '--rdzv-id', 'gavn', '--local-addr', self.address,
                   '--rdzv-conf', f'is_host={int(self.number == 0)}', *arguments]
        settings = {**os.environ, **_SETTINGS, 'GLOO_SOCKET_IFNAME': self.device, **environment}
        with log.open('a') as output:
            self.agent = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """Kills all processes of the node by SIGKILL."""
        for process in _ip('netns', 'pids', self.name).split():
            os.kill(int(process), signal.SIGKILL)
        if self.agent is not None:
            self.agent.wait()

    def wait(self, seconds: float) -> int:
        """Waits for torchrun; returns its exit status."""
        assert self.agent is not None
        return self.agent.wait(seconds)


def cut_power(first: Node, second: Node) -> None:
    """Ends the second node so that the first one receives no packet of it; then the place is empty."""
    _ip('-n', second.name, 'link', 'set', second.device, 'down')
    second.kill()
    _ip('-n', first.name, 'link', 'del', first.device)
    _ip('netns', 'del', second.name)
    _ip('netns', 'add', second.name)
    _connect(first, second)


def _connect(first: Node, second: Node) -> None:
    _ip('link', 'add', first.device, 'netns', first.name, 'type', 'veth',
        'peer', 'name', second.device, 'netns', second.name)
    for node in (first, second):
        _ip('-n', node.name, 'addr', 'add', f'{node.address}/24', 'dev', node.device)
        for device in ('lo', node.device):
            _ip('-n', node.name, 'link', 'set', device, 'up')


@contextmanager
def two_nodes() -> Iterator[tuple[Node, Node]]:
    """Makes the nodes; skips the test where network namespaces cannot be made."""
    nodes = Node(0), Node(1)
    try:
        for node in nodes:
            _ip('netns', 'add', node.name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f'network namespaces need Linux, iproute2 and root: {error}')
    try:
        _connect(*nodes)
        yield nodes
    finally:
        for node in nodes:
            node.kill()
            _ip('netns', 'del', node.name)
