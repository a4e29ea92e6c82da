"""A real Slurm of one node on this machine: Debian's slurmctld, slurmd and munge, as root."""
from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from processes import wait_until

CONFIG = """\
ClusterName=gavn
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES State=UP
"""
DAEMONS = ('munged', 'slurmctld', 'slurmd')


def missing() -> str:
    """What prevents a cluster here; '' if nothing does."""
    absent = [name for name in DAEMONS if shutil.which(name, path=_PATH) is None]
    return f'needs {", ".join(absent)}' if absent else 'needs root' * bool(os.getuid())


_PATH = f'{os.environ["PATH"]}:/usr/sbin'


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Starts a cluster; yields the environment of its commands."""
    (folder / 'state').mkdir()
    host = os.uname().nodename
    config, key, socket = folder / 'slurm.conf', folder / 'munge.key', folder / 'munge.socket'
    config.write_text(CONFIG.format(folder=folder, host=host))
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = {**os.environ, 'SLURM_CONF': str(config), 'PATH': _PATH}
    munged = ['munged', '--foreground', '--force', f'--key-file={key}', f'--socket={socket}',
              *(f'--{name}-file={folder}/munge.{name}' for name in ('log', 'pid', 'seed'))]
    started = []
    try:
        for command in (munged, ['slurmctld', '-D'], ['slurmd', '-D', '-N', host]):
            with (folder / f'{command[0]}.out').open('wb') as log:
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            time.sleep(1)
        _wait_for_node(environment, folder)
        yield environment
    finally:
        subprocess.run(['scancel', '--user=root'], env=environment, check=False)
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    for _ in range(60):
        state = subprocess.run(['sinfo', '-h', '-o', '%t'], env=environment, capture_output=True, text=True,
                               check=False).stdout
        if 'idle' in state:
            return
        time.sleep(1)
    logs = [path.read_text(errors='replace')[-2000:] for path in sorted(folder.glob('*.log'))]
    raise AssertionError('\n'.join(['no node became idle', *logs]))


def wait_for_jobs(environment: dict[str, str]) -> None:
    """Returns when no job is left in the queue."""
    queue = partial(subprocess.run, ['squeue', '-h'], env=environment, capture_output=True, check=True)
    wait_until(lambda: not queue().stdout, 'the last job')
