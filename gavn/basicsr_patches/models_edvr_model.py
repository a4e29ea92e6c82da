"""Patch of basicsr.models.edvr_model."""
from basicsr.models.edvr_model import EDVRModel

from gavn.basicsr_patches.models_video_base_model import optimize_with_frozen


def apply() -> None:
    """Patches EDVRModel: until `train.tsa_iter` only the fusion (TSA) module is trained."""
    EDVRModel.optimize_parameters = optimize_with_frozen(lambda name: 'fusion' not in name, 'tsa_iter')
