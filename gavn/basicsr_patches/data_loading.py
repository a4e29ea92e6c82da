"""All patches that a process which reads data needs."""
from gavn.basicsr_patches import utils_file_client, utils_img_util


def apply() -> None:
    """Patches basicsr's file readers."""
    for module in (utils_file_client, utils_img_util):
        module.apply()


def start_worker(worker: int) -> None:
    """`worker_init_fn` of loaders: patches a spawned worker. A forked one is already patched."""
    apply()
