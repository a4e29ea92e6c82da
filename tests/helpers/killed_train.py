"""`killed_train.py NAME -opt FILE ...` runs gavn/train.py and kills it in the middle of writing NAME."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import linear_training

from gavn import train

if __name__ == '__main__':
    linear_training.kill_in_write(sys.argv.pop(1))
    sys.exit(train.main())
