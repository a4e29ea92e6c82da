"""`python tests/killed_train.py NAME -opt FILE ...`: gavn/train.py, killed in the middle of writing NAME."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import stand_in

from gavn import train

if __name__ == '__main__':
    stand_in.kill_in_write(sys.argv.pop(1))
    train.main()
