"""All patches that a process which reads data needs; importing this module applies them."""
from gavn.basicsr_patches import utils_file_client, utils_img_util  # noqa: F401


def start_worker(worker: int) -> None:
    """`worker_init_fn` of loaders: a spawned worker imports this module for it. A forked one is patched."""
