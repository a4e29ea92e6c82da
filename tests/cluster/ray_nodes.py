"""A real Ray of two nodes with a core each on this machine."""
from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from processes import PATIENCE, kill_all

SETTINGS = {'RAY_memory_monitor_refresh_ms': '0',  # the machine has other work, too, which makes it slow
            'RAY_worker_register_timeout_seconds': str(PATIENCE), 'RAY_health_check_timeout_ms': '60000',
            'RAY_agent_register_timeout_ms': str(1000 * PATIENCE)}
AGENT_PORTS = ('metrics_agent_port', 'metrics_export_port', 'dashboard_agent_listen_port',
               'runtime_env_agent_port')


@contextmanager
def cluster(environment: Mapping[str, str]) -> Iterator[str]:
    """Starts the nodes; yields the address of the first one. In the end all their processes are killed."""
    from ray._private import services
    from ray.cluster_utils import Cluster
    mark, real = str(uuid.uuid4()), services.get_node

    def patient(*args: Any) -> Any:
        """Waits for a node that starts. Ray waits for 30 seconds."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return real(*args)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(1)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(services, 'get_node', patient)
        for name, value in {**environment, **SETTINGS, 'GAVN_TEST': mark}.items():
            patched.setenv(name, value)
        try:
            nodes = Cluster(initialize_head=True, shutdown_at_exit=False,
                            head_node_args={**_node(), 'include_dashboard': False})
            nodes.add_node(**_node())
            yield nodes.address
        finally:
            kill_all(mark)


def _node() -> dict[str, int]:
    """Arguments of a node. For agents without a fixed port Ray waits for 15 seconds."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in AGENT_PORTS]
        ports = [one.getsockname()[1] for one in sockets]
    return {'num_cpus': 1, **dict(zip(AGENT_PORTS, ports, strict=True))}
