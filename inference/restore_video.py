"""Restores the face in a video: `python inference/restore_video.py IN -o OUT --weights FILE` (see --help)."""
import sys

from gavn.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['restore', *sys.argv[1:]]))
