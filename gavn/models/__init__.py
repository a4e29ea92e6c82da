"""Models that train and validate networks. Importing this package fills BasicSR's MODEL_REGISTRY."""
from gavn.archs import basicsr_archs  # noqa: F401  (models build networks from BasicSR's registry)
from gavn.models.av_video_model import AVVideoModel
from gavn.models.gavn_model import GAVNModel
from gavn.models.landmark_model import LandmarkModel

__all__ = ['AVVideoModel', 'GAVNModel', 'LandmarkModel']
