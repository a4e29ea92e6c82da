"""All patches that a process which reads data needs."""
from gavn.basicsr_patches import (
    data_data_util,
    data_paired_image_dataset,
    data_reds_dataset,
    data_transforms,
    data_video_test_dataset,
    utils_file_client,
    utils_img_util,
)


def apply() -> None:
    """Patches basicsr's data sets and file readers."""
    for module in (data_data_util, data_paired_image_dataset, data_reds_dataset, data_transforms,
                   data_video_test_dataset, utils_file_client, utils_img_util):
        module.apply()


def start_worker(worker: int) -> None:
    """`worker_init_fn` of loaders: patches a spawned worker. A forked one is already patched."""
    apply()
